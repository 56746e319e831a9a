"""Learning: optimizers and schedules, precision, losses, early stopping, averaged weights, randomness."""
