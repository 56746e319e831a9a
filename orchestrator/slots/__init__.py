"""Slots: the places where slices are trained, one warm process each."""
