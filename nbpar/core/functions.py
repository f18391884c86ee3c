"""Inspect functions: compiled code with all code nested in it."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType


def with_nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code and all code in it, outer code first."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from with_nested(constant)
