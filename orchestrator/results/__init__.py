"""What a study has found, and how far to trust it."""
