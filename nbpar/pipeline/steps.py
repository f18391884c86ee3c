"""The structure of a pipeline: nested stages, pipelines and unions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core.text import function_name
from nbpar.pipeline.stage import Stage

if TYPE_CHECKING:
    from typing import TypeAlias


def joiner(join: str | Callable[..., Any], names: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Return a function from the tuple of the branches' results to one result, and its name.

    Raises:
        ValueError: an unknown way, or names that must be distinct are not.
    """
    if callable(join):
        return partial(_call, join), function_name(join)
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
    raise ValueError(f'join must be "concat", "zip", "dict" or a function, was {join!r}')


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
    raise TypeError(f"a step is a function, a Stage, a Pipeline, a Union or a list of steps, was {given!r}")


def chain_of(steps: Sequence[Any]) -> Chain:
    """Return steps one after another.

    Raises:
        ValueError: there are no steps.
    """
    if not len(steps):
        raise ValueError("a pipeline needs at least one step: a function, a Stage, a Pipeline or a Union")
    return Chain(tuple(step_of(step) for step in steps))


def fan_of(branches: Sequence[Any] | Mapping[str, Any], join: str | Callable[..., Any]) -> Fan:
    """Return branches and the function that joins them.

    Raises:
        ValueError: there is no branch, or the way to join is unknown.
    """
    names = list(branches) if isinstance(branches, Mapping) else None
    given = branches.values() if isinstance(branches, Mapping) else branches
    steps = tuple(step_of(step) for step in given)
    if not steps:
        raise ValueError("a union needs at least one branch")
    fn, name = joiner(join, names or [name_of(step) for step in steps])
    return Fan(steps, Stage(fn, workers=1, backend="threads", name=name))


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
