"""What the user asked for becomes one frozen plan."""
