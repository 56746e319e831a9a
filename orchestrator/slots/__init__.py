"""Where slices run."""
