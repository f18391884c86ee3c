"""Programs written for other tools, on nbpar's engine room: one thin module for each."""
