"""Trains one configuration. The door for other packages is `trainer.api`."""
