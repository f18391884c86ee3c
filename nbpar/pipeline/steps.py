"""The structure of a pipeline: nested stages, pipelines and unions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core.text import function_name, short
from nbpar.pipeline.stage import Stage

if TYPE_CHECKING:
    from typing import TypeAlias


JOINS = '"concat", "zip", "dict" or a function'
"""Ways to join results."""


def joiner(join: str | Callable[..., Any], names: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Return a function from the tuple of the branches' results to one result, and its name.

    Raises:
        TypeError: the way is neither a text nor a function.
        ValueError: an unknown way, or names that must be distinct are not.
    """
    if callable(join):
        return partial(_call, join), function_name(join)
    if not isinstance(join, str):
        raise TypeError(f"join must be {JOINS}, was {short(join)}")
    if join == "concat":
        return _concatenate, "concat"
    if join == "zip":
        return tuple, "zip"
    if join == "dict":
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(
                f'join="dict" needs branches with different names, but {twice[0]!r} is there twice; '
                "give Union a dict from names to branches"
            )
        return partial(_named, tuple(names)), "dict"
    raise ValueError(f"join must be {JOINS}, was {short(join)}")


def _call(join: Callable[..., Any], values: tuple[Any, ...]) -> Any:
    return join(list(values))


def _named(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _concatenate(values: tuple[Any, ...]) -> Any:
    """Concatenate arrays along their first axis; a number counts as an array of one."""
    import numpy as np

    return np.concatenate([np.atleast_1d(value) for value in values])


@dataclass(frozen=True)
class Chain:
    """A sequence of steps."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Fan:
    """Branches that get the same items, and the stage that joins their results."""

    branches: tuple[Step, ...]
    join: Stage


Step: TypeAlias = Stage | Chain | Fan


def step_of(given: Any) -> Step:
    """Return the step for a function, `Stage`, `Pipeline`, `Union` or a list of these.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(given, (Stage, Chain, Fan)):
        return given
    inner = getattr(given, "step", None)
    if isinstance(inner, (Stage, Chain, Fan)):
        return inner  # a Pipeline or a Union
    if isinstance(given, (list, tuple)):
        return chain_of(given)
    if callable(given):
        return Stage(given)
    raise TypeError(
        f"a step is a function, a Stage, a Pipeline, a Union or a list of steps, was {short(given)}"
    )


def chain_of(steps: Sequence[Any]) -> Chain:
    """Return steps one after another.

    Raises:
        TypeError: they are no list, or one is no step.
        ValueError: there are no steps.
    """
    if not _is_list(steps):
        hint = f"; write `[{function_name(steps)}]`" if callable(steps) else ""
        raise TypeError(f"a pipeline needs a list of steps, was {short(steps)}{hint}")
    steps = tuple(steps)
    if not steps:
        raise ValueError("a pipeline needs at least one step: a function, a Stage, a Pipeline or a Union")
    return Chain(tuple(step_of(step) for step in steps))


def fan_of(branches: Sequence[Any] | Mapping[str, Any], join: str | Callable[..., Any]) -> Fan:
    """Return branches and the function that joins them.

    Raises:
        TypeError: they are neither a list nor a dict, or one is no step.
        ValueError: there is no branch, or the way to join is unknown.
    """
    if not _is_list(branches) and not isinstance(branches, Mapping):
        raise TypeError(f"a union needs a list or a dict of branches, was {short(branches)}")
    names = list(branches) if isinstance(branches, Mapping) else None
    given = branches.values() if isinstance(branches, Mapping) else branches
    steps = tuple(step_of(step) for step in given)
    if not steps:
        raise ValueError("a union needs at least one branch")
    fn, name = joiner(join, names or [name_of(step) for step in steps])
    return Fan(steps, Stage(fn, workers=1, backend="threads", name=name))


def _is_list(given: Any) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping))


def stages_of(step: Step) -> Iterator[Stage]:
    """Yield the stages of a step, in the order in which items pass them."""
    if isinstance(step, Stage):
        yield step
        return
    for inner in step.steps if isinstance(step, Chain) else step.branches:
        yield from stages_of(inner)
    if isinstance(step, Fan):
        yield step.join


def name_of(step: Step) -> str:
    """Return the name of a step."""
    if isinstance(step, Chain):
        return name_of(step.steps[-1]) if len(step.steps) == 1 else " | ".join(map(name_of, step.steps))
    return step.name if isinstance(step, Stage) else step.join.name
