"""Measurements of a run: its sampling profile, and seconds, worker and memory of each item."""
