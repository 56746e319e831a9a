"""Samplers propose the configuration of the next trial."""
