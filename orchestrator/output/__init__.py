"""The output of a study for people and programs: the terminal, and the files in its folder."""
