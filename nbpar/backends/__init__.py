"""Where workers are: in this thread, in threads, on engines."""
