"""Engines on other hosts through OpenSSH's client: one connection for each host, nothing that stays."""
