"""What people and programs see while a study runs."""
