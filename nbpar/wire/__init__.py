"""Bytes: messages between client and workers, and how objects become part of them."""
