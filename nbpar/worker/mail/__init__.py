"""Messages of a worker: one mailbox for all its threads, and what carries them."""
