"""The configuration: typed sections, every key with its meaning, and the way from files and overrides to one object."""
