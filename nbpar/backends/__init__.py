"""Kinds of workers: the caller's thread, threads of this process, ipyparallel engines."""
