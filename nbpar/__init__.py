"""Run a loop of a notebook in parallel: live, ordered, interruptible, on ipyparallel engines."""

__version__ = "0.1.0"
