"""Channels to code that runs on workers: gateways, groups, and many channels as one."""
