"""Engines on other hosts through OpenSSH's client: one connection for each host, nothing that stays."""

SILENCE = 60.0
"""Seconds without a sign of life until the other side of a connection counts as gone.

TCP takes up to 50 to go on after a cut of 30.
"""
