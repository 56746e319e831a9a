"""The loop of a study, and the one writer of it."""
