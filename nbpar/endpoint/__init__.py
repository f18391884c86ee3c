"""One end of a channel: the same code on the user's side and on the worker's."""
