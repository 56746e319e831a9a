"""The commands, one file each: they take arguments and return an exit status."""
