"""Detect captured variables that code changes in place.

    out.append(n)       d[n] = n * n       state.total += n       total += n

It tracks, instruction by instruction, which variable each value on the stack came from.  The value's
type decides later whether it was a change: `append` of a list changes it, of another object it
may not.  False negatives are preferred: values passed through a call or another name are not
tracked.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, NamedTuple

METHOD, STORE, DELETE, ATTRIBUTE, REBIND = "method", "store", "delete", "attribute", "rebind"

ELEMENT = "[...]"
"""A step of a path that takes an element; other steps are names of attributes."""


class Label(NamedTuple):
    """The origin of a value."""

    scope: str
    """`global`, `free` (of an enclosing function) or `local`."""

    name: str
    path: tuple[str, ...] = ()


class Computed(NamedTuple):
    """The result of an operator on a labeled value."""

    label: Label
    in_place: bool
    """By an augmented assignment."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change in place, as far as the code shows."""

    label: Label
    """The changed object."""

    kind: str
    """One of the five words above."""

    detail: str = ""
    """Name of the method or attribute."""

    updates: bool = False
    """The new value is computed from the old one."""

    line: int = 0

    def __str__(self) -> str:
        """Write it as in the code: `out.append(...)`, `d[...] += ...`, `del d[...]`."""
        target = self.label.name + "".join(
            step if step == ELEMENT else f".{step}" for step in self.label.path
        )
        if self.kind == METHOD:
            return f"{target}.{self.detail}(...)"
        if self.kind == DELETE:
            return f"del {target}[...]"
        target += {STORE: ELEMENT, ATTRIBUTE: f".{self.detail}"}.get(self.kind, "")
        return f"{target} {'+=' if self.updates else '='} ..."


@dataclass(slots=True)
class Findings:
    """Findings in a function and in the functions and classes defined in it."""

    changes: list[Change] = field(default_factory=list)
    looked_up: set[str] = field(default_factory=set)
    """Variables that are queried for an entry."""

    read: set[str] = field(default_factory=set)
    """Variables whose elements are read, except to change them."""

    used: set[str] = field(default_factory=set)
    """Variables that are used as a whole: passed on, returned, compared."""

    methods: set[tuple[str, str]] = field(default_factory=set)
    """Variables, with the names of attributes read from them."""

    returns: bool = False
    """Whether it may return a value other than None."""


def findings_in(code: CodeType) -> Findings:
    """Analyze a function's code."""
    found = Findings()
    for part, free in _with_free_names(code, frozenset(code.co_freevars)):
        _Walk(part, free, found, outermost=part is code).run()
    return found


def _with_free_names(code: CodeType, free: frozenset[str]) -> Iterator[tuple[CodeType, frozenset[str]]]:
    """Yield the code and all code in it, each with its free names."""
    yield code, free
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_free_names(constant, free.intersection(constant.co_freevars))


Value = Label | Computed | str | None
"""A value on the stack as far as it is known; "None" for None."""

_ONLY_POP = ("POP_", "STORE_", "RETURN_", "LIST_APPEND", "SET_ADD", "MAP_ADD", "END_FOR", "RAISE", "RERAISE")
_NO_EFFECT = ("NOP", "RESUME", "CACHE", "EXTENDED_ARG", "JUMP", "MAKE_CELL", "COPY_FREE_VARS", "NOT_TAKEN")
_LEAVES = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "RETURN_", "RAISE", "RERAISE")


class _Walk:
    """Scans code once, from its first instruction to its last."""

    def __init__(self, code: CodeType, free: frozenset[str], found: Findings, *, outermost: bool) -> None:
        self._code, self._free, self._found, self._outermost = code, free, found, outermost
        self._stack: list[Value] = []
        self._line = code.co_firstlineno

    def run(self) -> None:
        """Record all findings."""
        at_target: dict[int, list[Value]] = {}
        reached = True
        for step in dis.get_instructions(self._code):
            self._line = _line_of(step) or self._line
            if not reached:
                self._stack = list(at_target.get(step.offset, ()))
            self._take(step)
            if step.opcode in _JUMPS:
                at_target.setdefault(step.argval, list(self._stack))
            reached = not step.opname.startswith(_LEAVES)

    def _take(self, step: dis.Instruction) -> None:
        name = step.opname
        if name.startswith("LOAD_") and name not in ("LOAD_ATTR", "LOAD_METHOD"):
            self._load(step)
        elif (act := _ACTS.get(name)) is not None:
            act(self, step)
        elif name.startswith(("BINARY_", "INPLACE_")):
            self._compute(step)
        elif not name.startswith(_NO_EFFECT):
            self._apply_effect(step)

    # ---- the stack

    def _pop(self, number: int = 1) -> list[Value]:
        """Pop values from the stack, the topmost last; unknown values are None."""
        missing = [None] * max(number - len(self._stack), 0)
        taken = self._stack[len(self._stack) - number + len(missing) :] if number else []
        del self._stack[len(self._stack) - len(taken) :]
        return [*missing, *taken]

    def _top(self, depth: int) -> Value:
        return self._stack[-depth] if 0 < depth <= len(self._stack) else None

    def _apply_effect(self, step: dis.Instruction) -> None:
        """Apply the stack effect of an instruction that is not modeled."""
        effect = _effect(step)
        gone = self._pop(max(-effect, 0))
        if step.opname.startswith("RETURN_") and self._outermost:
            self._note_result(step, gone)
        if step.opname != "POP_TOP":
            self._note_use(gone)
        if effect > 0:
            self._stack.extend([None] * effect)
        elif self._stack and not step.opname.startswith(_ONLY_POP):
            self._note_use(self._pop())
            self._stack.append(None)

    # ---- effects of instructions on their operands

    def _load(self, step: dis.Instruction) -> None:
        before = len(self._stack)
        wanted = before + _effect(step)
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        if "CONST" in step.opname:
            self._stack.append("None" if step.argval is None else None)
        else:
            self._stack.extend(self._label(step.opname, name) for name in names)
        if len(self._stack) < wanted:  # a NULL beside it, for a call
            self._stack.append(None)
        del self._stack[max(wanted, 0) :]

    def _label(self, operation: str, name: object) -> Label | None:
        if not isinstance(name, str) or "ATTR" in operation:
            return None
        if operation in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            return Label("global", name)
        if "DEREF" in operation:
            return Label("free", name) if name in self._free else None
        return Label("local", name) if "FAST" in operation and self._outermost else None

    def attribute(self, step: dis.Instruction) -> None:
        [holder] = self._pop()
        if isinstance(holder, Label):
            self._found.methods.add((holder.name, step.argval))
            if ELEMENT in holder.path:
                self._found.read.add(holder.name)
            self._note(holder, METHOD, step.argval)
            holder = holder._replace(path=(*holder.path, step.argval))
        self._stack.append(holder if isinstance(holder, Label) else None)
        if _effect(step) > 0:  # the method, and its object
            self._stack[-1:] = [None, None]

    def element(self, _: dis.Instruction) -> None:
        holder, _key = self._pop(2)
        self._note_use([_key])
        if isinstance(holder, Label):
            self._stack.append(holder._replace(path=(*holder.path, ELEMENT)))
        else:
            self._stack.append(None)

    def _compute(self, step: dis.Instruction) -> None:
        if step.opname == "BINARY_SLICE" or _effect(step) != -1:
            self._apply_effect(step)
            return
        if step.argrepr == "[]":  # item access in Python 3.14
            self.element(step)
            return
        both = self._pop(2)
        labels = [value for value in both if isinstance(value, Label)]
        labels += [value.label for value in both if isinstance(value, Computed)]
        self._note_use(both)
        in_place = step.opname.startswith("INPLACE_") or step.argrepr.endswith("=")
        self._stack.append(Computed(labels[0], in_place) if labels else None)

    def store_element(self, _: dis.Instruction) -> None:
        value, holder, key = self._pop(3)
        self._note_use([value, key])
        self._store(holder, STORE, value)

    def store_slice(self, _: dis.Instruction) -> None:
        value, holder, start, stop = self._pop(4)
        self._note_use([value, start, stop])
        self._store(holder, STORE, value)

    def _store(self, holder: Value, kind: str, value: Value, detail: str = "") -> None:
        if isinstance(holder, Label):
            inside = holder._replace(path=(*holder.path, detail or ELEMENT))
            updates = value == (inside, True) or (kind == ATTRIBUTE and value == (inside, False))
            self._note(holder, kind, detail, updates=updates)

    def delete_element(self, _: dis.Instruction) -> None:
        holder, key = self._pop(2)
        self._note_use([key])
        if isinstance(holder, Label):
            self._note(holder, DELETE)

    def store_attribute(self, step: dis.Instruction) -> None:
        value, holder = self._pop(2)
        self._note_use([value])
        self._store(holder, ATTRIBUTE, value, step.argval)

    def store_name(self, step: dis.Instruction) -> None:
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        loads = names[1:] if step.opname.endswith("LOAD_FAST") else ()
        for name in names[: len(names) - len(loads)]:
            [value] = self._pop()
            self._note_use([value])
            if isinstance(value, Computed) and value.label._replace(scope="") == Label("", name):
                self._note(value.label, REBIND, updates=True)
        self._stack.extend(self._label("LOAD_FAST", name) for name in loads)

    def contains(self, _: dis.Instruction) -> None:
        held, holder = self._pop(2)
        self._note_use([held])
        if isinstance(holder, Label):
            self._found.looked_up.add(holder.name)
        self._stack.append(None)

    def copy(self, step: dis.Instruction) -> None:
        self._stack.append(self._top(step.arg or 1))

    def repeat(self, number: int) -> None:
        """Push copies of the topmost values."""
        self._stack.extend([self._top(depth) for depth in range(number, 0, -1)])

    def swap(self, step: dis.Instruction) -> None:
        self.rotate(step.arg or 2, swap=True)

    def rotate(self, depth: int, *, swap: bool = False) -> None:
        values = self._pop(depth)
        if swap:
            values[0], values[-1] = values[-1], values[0]
        else:
            values.insert(0, values.pop())
        self._stack.extend(values)

    # ---- notes

    def _note(self, label: Label, kind: str, detail: str = "", *, updates: bool = False) -> None:
        self._found.changes.append(Change(label, kind, detail, updates, self._line))

    def _note_use(self, values: Sequence[Value]) -> None:
        for value in values:
            label = value.label if isinstance(value, Computed) else value
            if isinstance(label, Label):
                (self._found.read if ELEMENT in label.path else self._found.used).add(label.name)

    def _note_result(self, step: dis.Instruction, values: Sequence[Value]) -> None:
        constant = step.opname == "RETURN_CONST"
        nothing = step.argval is None if constant else bool(values) and values[-1] == "None"
        by_method = any(change.kind == METHOD and change.line == self._line for change in self._found.changes)
        if not nothing and not by_method:
            self._found.returns = True


_Act = Callable[[_Walk, dis.Instruction], None]

_ACTS: dict[str, _Act] = {
    "LOAD_ATTR": _Walk.attribute,
    "LOAD_METHOD": _Walk.attribute,
    "BINARY_SUBSCR": _Walk.element,
    "STORE_SUBSCR": _Walk.store_element,
    "STORE_SLICE": _Walk.store_slice,
    "DELETE_SUBSCR": _Walk.delete_element,
    "STORE_ATTR": _Walk.store_attribute,
    "CONTAINS_OP": _Walk.contains,
    "COPY": _Walk.copy,
    "SWAP": _Walk.swap,
    "DUP_TOP": lambda walk, _: walk.repeat(1),
    "DUP_TOP_TWO": lambda walk, _: walk.repeat(2),
    "ROT_TWO": lambda walk, _: walk.rotate(2),
    "ROT_THREE": lambda walk, _: walk.rotate(3),
    "ROT_FOUR": lambda walk, _: walk.rotate(4),
    **dict.fromkeys(
        ("STORE_FAST", "STORE_GLOBAL", "STORE_NAME", "STORE_DEREF", "STORE_FAST_LOAD_FAST",
         "STORE_FAST_STORE_FAST"),
        _Walk.store_name,
    ),
}  # fmt: skip

_JUMPS = {*dis.hasjrel, *dis.hasjabs}


def _effect(step: dis.Instruction) -> int:
    if step.opname == "RETURN_VALUE":  # from Python 3.14 on 0, as the value is pushed for the caller
        return -1
    argument = step.arg if step.opcode >= dis.HAVE_ARGUMENT else None
    try:
        return dis.stack_effect(step.opcode, argument, jump=False)
    except ValueError:
        return 0


def _line_of(step: Any) -> int | None:
    """The line where an instruction's line begins; Python 3.13 renamed the attribute."""
    starts = getattr(step, "line_number", None)
    return int(starts) if starts is not None else step.starts_line if type(step.starts_line) is int else None
