"""Pure decisions and values: no thread, clock, socket or file."""
