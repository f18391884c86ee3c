"""Collaboration: the message tells why an object could not be unpickled."""

from __future__ import annotations

import pickle
import platform
import sys
import types

import numpy as np
import pytest
from user_code import press_ctrl_c

from nbpar.wire.diagnosis.explain import explain_unpickling


def load_reason(payload, **options):
    with pytest.raises(Exception) as caught:
        pickle.loads(payload)
    text = explain_unpickling(caught.value, what="item 3", **options)
    assert text.startswith("cannot load item 3: ")
    return text.removeprefix("cannot load item 3: ")


@pytest.fixture
def helpers():
    """Make a module that the other side does not have."""
    module = types.ModuleType("nbpar_test_helpers")
    exec("class Thing: pass\nclass Other: pass", module.__dict__)
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def test_a_module_that_exists_only_at_the_sender_is_named(helpers):
    payload = pickle.dumps(helpers.Thing())
    del sys.modules[helpers.__name__]

    assert load_reason(payload) == (
        f"module `nbpar_test_helpers` was not found on the engine, where Python is {sys.executable} on"
        f" {platform.node()}: install its package there;"
        " a module of your own is sent along if it can be imported where the call is made"
    )


def test_what_a_finder_says_of_a_missing_module_is_kept(monkeypatch):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "nbpar_compiled":
                raise ModuleNotFoundError("module 'nbpar_compiled' is compiled", name=name)

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])

    assert load_reason(b"cnbpar_compiled\nThing\n.") == (
        f"module 'nbpar_compiled' is compiled (Python is {sys.executable} on {platform.node()})"
    )


def test_a_module_that_is_missing_here_is_said_to_be_missing_here(helpers):
    payload = pickle.dumps(helpers.Thing())
    del sys.modules[helpers.__name__]

    reason = load_reason(payload, where="here")

    assert "was not found here, where Python is " in reason
    assert "can be put beside this program, or be sent along" in reason


def test_a_missing_part_of_a_module_that_is_there_means_another_version():
    assert load_reason(b"cjson.nosuch\nThing\n.").startswith(
        "`json` has another version on the engine (ModuleNotFound"
    )


def test_a_class_that_an_older_module_lacks_is_named(helpers):
    payload = pickle.dumps(helpers.Thing())
    del helpers.Thing

    text = load_reason(payload)

    assert text.startswith("module `nbpar_test_helpers` on the engine has no `Thing`: it is an older")
    assert "restart the engines" in text


def test_a_class_of_main_is_told_to_move_into_a_module():
    text = load_reason(b"c__main__\nNoSuchThing\n.")

    assert text == (
        "`NoSuchThing` was sent by its name alone and `__main__` on the engine has nothing of that name;"
        " define it in a module that both sides can import"
    )


class NeedsCode(Exception):
    def __init__(self, message, code):
        super().__init__(message)


class KeywordOnly(Exception):
    def __init__(self, *, code):
        super().__init__("text")


class NoArguments(Exception):
    def __init__(self):
        super().__init__("text")


@pytest.mark.parametrize("error", [NeedsCode("text", 3), KeywordOnly(code=3), NoArguments()])
def test_an_exception_that_cannot_be_made_again_is_told_how_to(error):
    text = load_reason(pickle.dumps(error))

    assert text.startswith(
        f"`{type(error).__name__}` cannot be made again from what was pickled (TypeError: "
    )
    assert "passes all its arguments to `super().__init__()`" in text
    assert "`__reduce__`" in text


def test_another_pickle_protocol_means_another_python():
    text = load_reason(b"\x80\x63.")

    assert text.startswith(
        f"it comes from another Python than the {sys.version.split()[0]} here (ValueError: unsupp"
    )


def test_a_function_of_another_python_means_another_python():
    error = TypeError("code() argument 13 must be str, not int")

    assert "it comes from another Python" in explain_unpickling(error, what="it")


def test_another_cloudpickle_is_recognised():
    assert load_reason(b"ccloudpickle.cloudpickle\n_nosuch\n.").startswith(
        "cloudpickle has another version on the"
    )


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", pickle.dumps(["text"] * 3)[:-4], pickle.dumps("x" * 999)[:500]]
)
def test_damaged_bytes_are_recognised(payload):
    assert load_reason(payload).startswith("its bytes did not arrive whole (")


def test_missing_buffers_are_recognised():
    assert load_reason(pickle.dumps(np.zeros(9), 5, buffer_callback=lambda _: None)).startswith(
        "its bytes did not"
    )


class EmptyFirst:
    def __init__(self):
        self.values = {}

    def __getstate__(self):
        return self.__dict__

    def __getattr__(self, name):
        return self.values[name]


def test_a_getattr_that_calls_itself_is_named():
    assert load_reason(pickle.dumps(EmptyFirst())).startswith(
        "a `__getattr__` calls itself while the object is still"
    )


class BadState:
    def __getstate__(self):
        return 1

    def __setstate__(self, state):
        raise KeyError("boom")


def test_a_method_that_raises_is_named():
    assert load_reason(pickle.dumps(BadState())) == "its `__setstate__` raised KeyError: 'boom'"


@pytest.mark.parametrize(
    "error", [ValueError("odd"), TypeError("odd"), AttributeError("odd"), ImportError("odd")]
)
def test_what_is_not_recognised_is_shown_as_it_is(error):
    assert "odd" in explain_unpickling(error, what="it")


def test_a_recursion_without_a_known_cause_is_blamed_on_depth():
    assert "it is nested too deeply" in explain_unpickling(RecursionError("deep"), what="it")


def test_what_has_no_room_in_memory_is_told_to_be_smaller():
    assert explain_unpickling(MemoryError("80 GB"), what="it", where="on the engine") == (
        "cannot load it: there is not enough memory for it on the engine (MemoryError: 80 GB);"
        " send or return less, or the name of a file with it"
    )


def test_an_error_that_cannot_be_looked_into_is_shown_by_its_text():
    names = {"__name__": 3}
    exec("def __setstate__(state): raise KeyError('boom')", names)
    with pytest.raises(KeyError) as caught:
        names["__setstate__"](1)

    assert explain_unpickling(caught.value, what="it") == "cannot load it: KeyError: 'boom'"


def test_ctrl_c_while_an_error_is_looked_into_is_not_swallowed():
    slow = type("Slow", (), {"__str__": press_ctrl_c})()

    with pytest.raises(KeyboardInterrupt):
        explain_unpickling(ModuleNotFoundError("gone", name=slow), what="it")
