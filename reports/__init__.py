"""What happened in a study: CSV tables and one self-contained HTML file, drawn from a `StudyRecord` alone."""
