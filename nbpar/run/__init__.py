"""One run: its results as they arrive, its end, its display."""
