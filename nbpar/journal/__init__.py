"""Persistent results: one SQLite file for each name."""
