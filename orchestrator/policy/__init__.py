"""What to do next, given what is known. Pure objects: no clocks, no files, no processes, no database."""
