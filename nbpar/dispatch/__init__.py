"""The dispatcher: the one thread of a pool, between the scheduler and a backend."""
