"""Workers on ipyparallel engines."""
