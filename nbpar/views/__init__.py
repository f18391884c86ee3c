"""Displays of a run.  Views depend on snapshots only."""
