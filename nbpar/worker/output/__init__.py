"""Capture prints, displays, log records and warnings of items."""
