"""Join what the branches of a union made of one item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nbpar.core.short import function_name


def joiner(join: str | Callable[..., Any], names: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Return a function from the tuple of the branches' results to one result, and its name.

    Raises:
        ValueError: there is no such way, or names are not distinct where they have to be.
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
    """Put arrays together along their outer axis; a number counts as an array of one."""
    import numpy as np

    return np.concatenate([np.atleast_1d(value) for value in values])
