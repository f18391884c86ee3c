"""Bytes: messages between client and workers, and how objects are serialized."""
