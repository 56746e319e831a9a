"""Turns what the user asks for into one frozen plan."""
