"""Output to file descriptors is assigned to the item that wrote it."""

import os
import threading

from nbpar.worker.output.descriptors import Descriptors


def test_a_look_waits_for_what_the_reading_thread_has_in_its_hands():
    looking = threading.get_ident()
    reading, noted = threading.Event(), []

    def note(name, text, index):
        if threading.get_ident() != looking:
            reading.set()
            threading.Event().wait(0.5)  # a look that does not wait is over by then
        noted.append((name, text))
        return True

    with Descriptors(note) as descriptors:
        os.write(2, b"trouble\n")
        assert reading.wait(30)
        descriptors.look()
        before_the_end = list(noted)

    assert before_the_end == [("stderr", "trouble\n")]
