"""Which version of a user's module this process runs."""
