"""Checkpoints: written whole, checked when read, and files of weights of other origin."""
