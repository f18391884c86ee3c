"""Start, watch, resize and stop ipyparallel's controller and engines."""
