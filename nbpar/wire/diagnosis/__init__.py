"""Explain why an object cannot be pickled."""
