"""What a pipeline is made of: stages, pipelines and unions, nested as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbpar.pipeline.joining import joiner
from nbpar.pipeline.stage import Stage

if TYPE_CHECKING:
    from typing import TypeAlias


@dataclass(frozen=True)
class Chain:
    """Steps one after another."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Fan:
    """Branches that get the same items, and the stage that joins their results."""

    branches: tuple[Step, ...]
    join: Stage


Step: TypeAlias = Stage | Chain | Fan


def step_of(given: Any) -> Step:
    """Return the step that a user wrote: a function, `Stage`, `Pipeline`, `Union` or list of them.

    Raises:
        TypeError: it is nothing of the kind.
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
        ValueError: there is none.
    """
    if not len(steps):
        raise ValueError("a pipeline needs at least one step: a function, a Stage, a Pipeline or a Union")
    return Chain(tuple(step_of(step) for step in steps))


def fan_of(branches: Sequence[Any] | Mapping[str, Any], join: str | Callable[..., Any]) -> Fan:
    """Return branches and what joins them.

    Raises:
        ValueError: there is no branch, or no such way to join.
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
    """Return what to call a step."""
    if isinstance(step, Chain):
        return name_of(step.steps[-1]) if len(step.steps) == 1 else " | ".join(map(name_of, step.steps))
    return step.name if isinstance(step, Stage) else step.join.name
