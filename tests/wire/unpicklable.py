"""Objects that cannot be pickled, and the expected explanations."""

from __future__ import annotations

import threading

import cloudpickle
import pytest

from nbpar.wire.diagnosis.explain import explain


def reason(obj, what="item 3", **options):
    """Say why `obj` cannot be pickled, without the common beginning."""
    with pytest.raises(Exception) as caught:
        cloudpickle.dumps(obj, protocol=5)
    text = explain(obj, caught.value, what=what, **{"seconds": 60.0, **options})
    beginning = f"cannot send {what}: "
    assert text.startswith(beginning)
    assert "\n" not in text
    return text[len(beginning) :]


class Model:
    def __init__(self):
        self.lock = threading.Lock()

    def run(self):
        pass


class Net:
    def __init__(self):
        self.model = Model()
