"""Programs written for other tools, on nbpar's workers: one thin module for each."""
