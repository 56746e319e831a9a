"""The data of a run: files, splits, rows in batches, and the built-in scenes."""
