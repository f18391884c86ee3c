"""A pool of workers: its calls, their options, and where the workers come from."""
