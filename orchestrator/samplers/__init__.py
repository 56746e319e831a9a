"""Which configuration to try next."""
