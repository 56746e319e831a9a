"""The commands of `python -m trainer`, and what they print."""
