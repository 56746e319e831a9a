"""Decides what to train: plans a study, asks Optuna, hands slices to slots, prunes, continues, promotes."""
