"""Policies decide what to do next, and what becomes of each trial, from the state of the study."""
