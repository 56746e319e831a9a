"""One file a command: arguments in, an exit status out."""
