"""Other libraries running on nbpar's workers, with their own API."""
