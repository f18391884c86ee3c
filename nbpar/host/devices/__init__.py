"""GPUs: which of them this process may use, how a process is given one, and how busy they are."""
