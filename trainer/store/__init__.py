"""Files that a run reads and writes: text, CSV, locks, arrays, decoded images, memo tables, digests."""
