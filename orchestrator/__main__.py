"""`python -m orchestrator`. The processes of slots import this module, too, and need nothing of what it runs."""

if __name__ == "__main__":
    from orchestrator.commands.cli import main

    main()
