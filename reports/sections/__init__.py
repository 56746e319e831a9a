"""One file per section of the report; the ordered table of them is in `reports.build`."""
