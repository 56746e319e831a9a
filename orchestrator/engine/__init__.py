"""The main loop of a study, and the ledger, which alone writes to it."""
