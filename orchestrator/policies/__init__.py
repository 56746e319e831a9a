"""What to do next with which trial, given what is known."""
