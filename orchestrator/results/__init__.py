"""The results of a study, and how far to trust them."""
