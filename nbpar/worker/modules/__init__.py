"""Modules on a worker: what is imported, from where, and in which version."""
