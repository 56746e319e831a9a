"""What a task is: its protocols, the defaults to inherit, the checks of what it returns, and batches."""
