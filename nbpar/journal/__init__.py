"""Results that survive the process: one SQLite file for each name."""
