"""Count what is in a Python file: lines, tokens, functions, classes, cyclomatic complexity.

The complexity of a function is one more than the decisions in it (T. J. McCabe, "A Complexity
Measure", IEEE Transactions on Software Engineering SE-2(4), 1976).  Decisions are `if`, `elif`,
conditional expressions, `for`, `while`, `except`, the `for` and `if` of comprehensions, each `and`
and `or` (McCabe's section on compound predicates), each `case` that can fail to match, and its guard.
A function inside another counts for itself.  A module's complexity is the sum over its functions and
its own code, as McCabe adds up the components of a program.
"""

from __future__ import annotations

import ast
import io
import sys
import sysconfig
import threading
import tokenize
import traceback
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tokenize import COMMENT, DEDENT, ENCODING, ENDMARKER, INDENT, NEWLINE, NL
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_LAYOUT = frozenset({ENCODING, COMMENT, NL, NEWLINE, INDENT, DEDENT, ENDMARKER})
_DECISIONS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)
# Broken source: encodings and syntax (SyntaxError, ValueError), nesting (RecursionError, MemoryError).
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
)

# `warnings.catch_warnings` changes state of the whole process where warnings have no context of their own.
_warnings_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method, with the functions inside it left out."""

    name: str
    """Name with the classes and functions around it, for example `Parser.parse`."""

    line: int
    """Where its `def` stands, from 1."""

    complexity: int
    """Decisions plus one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was counted in one module."""

    path: str
    """The file."""

    lines: int
    """Physical lines, comments and blank ones too."""

    tokens: int
    """Names, numbers, strings and operators; no comments, no layout."""

    functions: int
    """Functions and methods, inner ones too."""

    classes: int
    """Classes, inner ones too."""

    complexity: int
    """Sum over the functions and the module's own code."""

    hardest: Function | None
    """The most complex function, the first of equals; None where there is no function."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that this Python cannot parse, as some test data of the standard library is meant to be."""

    path: str
    """The file."""

    reason: str
    """Type and message of the error."""


def standard_library() -> list[str]:
    """Paths of all Python files of the running Python's standard library, its tests included, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    files = (path for path in root.rglob("*.py") if _INSTALLED.isdisjoint(path.relative_to(root).parts))
    return sorted(map(str, files))


def measure(path: str) -> Measured | Unreadable:
    """Count lines, tokens, functions, classes and complexity of one Python file.

    Never raises for what is in the file, nor for one that cannot be opened: the answer is `Unreadable` then.
    """
    try:
        source = Path(path).read_bytes()
        tree = parse(source, path)
        tokens = count_tokens(source)
    except _UNREADABLE as error:
        return Unreadable(path, traceback.format_exception_only(error)[-1].strip())
    own, functions, classes = count_structure(tree)
    return Measured(
        path=path,
        lines=len(source.splitlines()),
        tokens=tokens,
        functions=len(functions),
        classes=classes,
        complexity=own + sum(function.complexity for function in functions),
        hardest=max(functions, key=lambda function: (function.complexity, -function.line), default=None),
    )


def parse(source: bytes, path: str) -> ast.Module:
    """Parse a module without showing the warnings that its source deserves; errors name `path`."""
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, path)


def _quiet() -> AbstractContextManager[object]:
    return nullcontext() if getattr(sys.flags, "context_aware_warnings", False) else _warnings_lock


def count_tokens(source: bytes) -> int:
    """Count names, numbers, strings and operators."""
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    return sum(token.type not in _LAYOUT for token in tokens)


def count_structure(tree: ast.Module) -> tuple[int, list[Function], int]:
    """Count the complexity of the module's own code, its functions with theirs, and its classes."""
    # A stack instead of recursion: generated source nests deeper than Python calls may.
    complexities = [1]
    found: list[tuple[str, int]] = []
    classes = 0
    stack: list[tuple[ast.AST, str, int]] = [(tree, "", 0)]
    while stack:
        node, scope, owner = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((scope + node.name, node.lineno))
            complexities.append(1)
            scope, owner = f"{scope}{node.name}.", len(found)
        elif isinstance(node, ast.ClassDef):
            classes += 1
            scope = f"{scope}{node.name}."
        else:
            complexities[owner] += decisions(node)
        stack += [(child, scope, owner) for child in ast.iter_child_nodes(node)]
    functions = [Function(name, line, n) for (name, line), n in zip(found, complexities[1:], strict=True)]
    return complexities[0], functions, classes


def decisions(node: ast.AST) -> int:
    """Count the decisions that this node itself makes, without its children."""
    if isinstance(node, _DECISIONS):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        always = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None
        return (not always) + (node.guard is not None)
    return 0
