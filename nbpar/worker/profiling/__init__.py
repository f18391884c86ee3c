"""Sampling profiles of items, and their memory."""
