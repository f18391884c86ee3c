"""When an item may begin: rates, retries, and what these wait for."""
