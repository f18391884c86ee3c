"""Explain in a sentence why an object could not be pickled or unpickled, and what to do.

The sentence names the variable, attribute or item that is the cause.  It runs on workers
too, so it needs only the standard library and cloudpickle.
"""

from __future__ import annotations

import pickle
import platform
import re
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

from nbpar.core.text import text_of
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.diagnosis.culprit import Culprit, deepest, find
from nbpar.wire.diagnosis.remedies import full_name, remedy_for, remedy_for_name

if TYPE_CHECKING:
    from nbpar.wire.diagnosis.parts import Part

LONGEST = 200
"""Maximal number of characters of an exception's text."""

DEEP = 60
"""Levels of nesting from which depth is the likely reason of a RecursionError."""

_OWN_METHOD = re.compile("__(reduce|reduce_ex|getstate|setstate|getnewargs|getnewargs_ex|getattr)__")


def explain(obj: object, error: BaseException, *, what: str, seconds: float = 2.0) -> str:
    """Explain which part of `obj` cannot be pickled; `error` is cloudpickle's exception.

    `what` completes "cannot send ...": "the function `tag`", "item 3"; if it starts with "the
    result" the advice is for a result.  The object is pickled once more, so its `__reduce__`
    and `__getstate__` run again.  The search ends after `seconds`, a single long call of theirs
    aside.  Raises nothing but the user's Ctrl-C.
    """
    returned = what.startswith("the result")
    try:
        reason = _too_deep(obj, seconds / 2) if _is_recursion(error) else None
        if reason is None:
            # the result refers to this frame, which must not refer to it: such a cycle keeps callers alive
            reason = _sentence(
                obj, find(obj, lambda it: remedy_for(type(it)) is not None, seconds), error, returned
            )
    except BaseException as trouble:
        if may_be_ctrl_c(trouble):
            raise
        reason = _by_text(error)
    return f"cannot send {what}: {reason}"


# ---- sentences


def _sentence(whole: object, culprit: Culprit | None, error: BaseException, returned: bool) -> str:
    if culprit is None:
        return _by_text(error)
    error = culprit.error or error
    if culprit.path is None:
        advice = _advice(culprit.value, [], error, returned)
        return f"somewhere in it is {_kind_of(culprit.value)}, which cannot be pickled{advice}"
    path, value = _to_known_kind(whole, culprit.path)
    subject = f"{_where(path)} is {_kind_of(value)}"
    raised_in = _own_method(error)
    if raised_in and remedy_for(type(value)) is None:
        return f"{subject}, whose `{raised_in}` raised {_text_of(error)}"
    return f"{subject}, which cannot be pickled{_advice(value, _owners(whole, path), error, returned)}"


def _to_known_kind(whole: object, path: tuple[Part, ...]) -> tuple[tuple[Part, ...], object]:
    """Cut a path at the outermost object of a known type: a queue rather than the lock in it."""
    way = [whole, *(place.value for place in path)]
    end = next((at for at, holder in enumerate(way) if remedy_for(type(holder))), len(path))
    return path[:end], way[end]


def _owners(whole: object, path: tuple[Part, ...]) -> list[object]:
    """Return the objects on the path whose `__getstate__` could exclude the end of the path."""
    way = [whole, *(place.value for place in path[:-1])] if path else []
    shared = [
        at for at, place in enumerate(path) if place.step.role != "part" or place.step.text == ".__class__"
    ]
    return [holder for holder in way[max(shared, default=-1) + 1 :] if _has_state(holder)]


def _where(path: tuple[Part, ...]) -> str:
    """Name the end of a path in Python syntax, from the nearest variable on."""
    if not path:
        return "it"
    start = max(
        (at for at, place in enumerate(path) if place.step.role in ("variable", "parameter")), default=-1
    )
    expression = "".join(_suffix(place, last=place is path[-1]) for place in path[max(start, 0) :])
    prefix = {"element": "an element of ", "key": "a key of "}.get(path[-1].step.role, "")
    if start < 0:
        return f"{prefix}`{expression}`" if expression else f"{prefix}it" if prefix else "a part of it"
    noun = "the default of {its} parameter" if path[start].step.role == "parameter" else "{its} variable"
    if start == 0:
        return f"{prefix}{noun.format(its='its')} `{expression}`"
    holder = _function_name(path[start - 1].value)
    return f"{prefix}{noun.format(its='the')} `{expression}` of the function `{holder}`, which it uses,"


def _suffix(place: Part, *, last: bool) -> str:
    role, text = place.step
    return text if role not in ("element", "key") or last else f"[{role}]"


def _function_name(function: Any) -> str:
    name: str = getattr(function, "__qualname__", "?")
    return name.rpartition("<locals>.")[2]


def _kind_of(value: object) -> str:
    if isinstance(value, type):
        return f"the class `{full_name(value)}`"
    if isinstance(value, types.FunctionType):
        return f"the function `{_function_name(value)}`"
    name = full_name(type(value))
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _advice(value: object, owners: list[object], error: BaseException, returned: bool) -> str:
    """Return the advice, after the exception's text if the type alone does not tell."""
    known = remedy_for(type(value))
    ways = [known] if known else []
    foreign = next((type(owner) for owner in owners if _is_library(type(owner))), None)
    if foreign is not None:
        ways = [f"make the {full_name(foreign)} inside the function"]
    elif owners:
        ways.append(f"leave it out in `{full_name(type(owners[-1]))}.__getstate__`")
    if returned and ways:
        ways = [way for way in ways if "inside the function" not in way] or ["return plain data instead"]
    reason = "" if known else f" ({_text_of(error)})"
    return f"{reason}; {', or '.join(ways)}" if ways else reason


def _has_state(value: object) -> bool:
    """Whether it is an instance of a class of its own, not a container, function, class or module."""
    kind = type(value)
    plain = ("builtins", "collections", "functools", "numpy")
    return kind.__module__ not in plain and not isinstance(value, (type, tuple))


def _is_library(kind: type) -> bool:
    top = kind.__module__.partition(".")[0]
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return (top in sys.stdlib_module_names and top != "__main__") or "site-packages" in file


def _own_method(error: BaseException) -> str | None:
    """Return the method of a user's class that raised during pickling."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__", "")
        if _OWN_METHOD.fullmatch(name) and module.partition(".")[0] not in ("cloudpickle", "copyreg"):
            return name
    return None


def _text_of(error: BaseException) -> str:
    text = " ".join(text_of(error).split())
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# ---- special reasons


def _is_recursion(error: BaseException) -> bool:
    return any(isinstance(it, RecursionError) for it in (error, error.__cause__, error.__context__))


def _too_deep(whole: object, seconds: float) -> str | None:
    path = deepest(whole, seconds)
    if len(path) < DEEP:
        return None
    kinds = [type(place.value) for place in path]
    start = next(at for at, kind in enumerate(kinds) if kinds.count(kind) >= DEEP // 10)
    subject = "it" if type(whole) is kinds[start] else _where(path[: start + 1])
    return (
        f"{subject} is nested too deeply ({len(path)} levels or more of {full_name(kinds[start + 1])} in"
        f" {full_name(kinds[start])}), and each level costs pickle a call within a call:"
        " flatten it, or build it inside the function"
    )


_NO_NAME = re.compile(r"Can't (?:pickle|get) (?:local object|<function)|<lambda>|not the same object as")
_KIND = re.compile(r"cannot pickle '([\w.]+)' object|Cannot pickle (files)")


def _by_text(error: BaseException) -> str:
    """Explain by the exception only."""
    text = _text_of(error)
    if found := _KIND.search(text):
        kind = found[1] or "_io._IOBase"
        remedy = remedy_for_name(kind)
        name = f"a {kind}" if found[1] else "an open file"
        return f"somewhere in it is {name}, which cannot be pickled" + (f"; {remedy}" if remedy else "")
    if _NO_NAME.search(text):
        return (
            f"{text}; plain pickle sends functions and classes by name:"
            " define it with `def` or `class` at the top of a module"
        )
    return text


# ---- the receiving side


def explain_unpickling(error: BaseException, *, what: str, where: str = "on the engine") -> str:
    """Explain why a received object could not be unpickled; `error` is the exception.

    `what` completes "cannot load ...", `where` names the receiving side.  Raises
    nothing but the user's Ctrl-C.
    """
    text = _text_of(error)
    try:
        reason = _reason_of(error, text, where)
    except BaseException as trouble:
        if may_be_ctrl_c(trouble):
            raise
        reason = text
    return f"cannot load {what}: {reason}"


def _reason_of(error: BaseException, text: str, where: str) -> str:
    reason = _damaged(error, text) or _other_versions(error, text) or _misfit(error, text, where)
    if reason is None and (method := _own_method(error)):
        reason = f"its `{method}` raised {text}"
    return reason or text


def _misfit(error: BaseException, text: str, where: str) -> str | None:
    if isinstance(error, ImportError):
        return _missing_module(error, text, where)
    if isinstance(error, AttributeError):
        return _missing_name(text, where)
    if isinstance(error, TypeError):
        return _other_arguments(text)
    if isinstance(error, MemoryError):
        advice = "send or return less, or the name of a file with it"
        return f"there is not enough memory for it {where} ({text}); {advice}"
    return _endless(error, text) if isinstance(error, RecursionError) else None


def _damaged(error: BaseException, text: str) -> str | None:
    signs = "truncated|exhausted|invalid load key|stack underflow|Ran out of input|out-of-band|MARK|frame"
    if isinstance(error, EOFError) or (isinstance(error, pickle.UnpicklingError) and re.search(signs, text)):
        return f"its bytes did not arrive whole ({text}); something between the two sides cut or changed them"
    return None


def _other_versions(error: BaseException, text: str) -> str | None:
    """Recognize code objects and protocols of another Python, and another cloudpickle."""
    python = r"unsupported pickle protocol|bad marshal data|code\(\) argument|code expected|unknown opcode"
    if re.search(python, text):
        ours = ".".join(map(str, sys.version_info[:3]))
        return f"it comes from another Python than the {ours} here ({text}); use the same on both sides"
    if isinstance(error, (AttributeError, ImportError)) and "cloudpickle" in text:
        return f"cloudpickle has another version on the other side ({text}); install the same on both"
    return None


def _missing_module(error: ImportError, text: str, where: str) -> str:
    name = str(error.name or "?")
    top = name.partition(".")[0]
    if top in sys.modules or not isinstance(error, ModuleNotFoundError):
        return f"`{top}` has another version {where} ({text}); install the same on both sides"
    python = f"{sys.executable or sys.prefix} on {platform.node()}"
    if not str(error).startswith("No module named"):  # its finder has said more
        return f"{error} (Python is {python})"
    own = (
        "can be put beside this program,"
        f" or be sent along: `cloudpickle.register_pickle_by_value({top})` before"
        if where == "here"
        else "is sent along if it can be imported where the call is made"
    )
    return (
        f"module `{name}` was not found {where}, where Python is {python}: install its package there;"
        f" a module of your own {own}"
    )


def _missing_name(text: str, where: str) -> str | None:
    found = re.search(r"Can't get attribute '(?P<name>[^']+)' on <module '(?P<module>[^']+)'", text)
    # as Python 3.14 and newer say it
    found = found or re.search(r"\bmodule '(?P<module>[^']+)' has no attribute '(?P<name>[^']+)'", text)
    if found is None:
        return None
    name, module = found["name"], found["module"]
    if module.endswith("__main__"):
        return (
            f"`{name}` was sent by its name alone and `__main__` {where} has nothing of that name;"
            " define it in a module that both sides can import"
        )
    return (
        f"module `{module}` {where} has no `{name}`: it is an older or another version;"
        " restart the engines, or install the same on both sides"
    )


def _other_arguments(text: str) -> str | None:
    found = re.search(r"(?:([\w.<>]+)\.)?__(init|new)__\(\) (?:missing|takes|got an unexpected)", text)
    if found is None:
        return None
    name = (found[1] or "its class").rpartition("<locals>.")[2]
    return (
        f"`{name}` cannot be made again from what was pickled ({text}); an exception passes all its"
        " arguments to `super().__init__()`, any class may define `__reduce__`"
    )


def _endless(error: BaseException, text: str) -> str:
    names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    if "__getattr__" in names:
        return (
            f"a `__getattr__` calls itself while the object is still empty ({text});"
            " let it raise AttributeError for names that begin with an underscore"
        )
    return f"it is nested too deeply ({text}); flatten it"
