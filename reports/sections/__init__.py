"""One file per section of the report; `reports.build` has the table of their order."""
