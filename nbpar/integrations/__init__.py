"""Other libraries, with nbpar's workers behind their own calls."""
