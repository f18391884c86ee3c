"""Decisions and values: nothing here starts a thread, reads a clock or touches a socket or file."""
