"""Which chunk goes to which worker, and when."""
