"""The life of ipyparallel's controller and engines."""
