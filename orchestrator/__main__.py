"""`python -m orchestrator`."""

from orchestrator.commands.cli import main

if __name__ == "__main__":
    main()
