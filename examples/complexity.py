"""Measure the modules of the standard library: lines, tokens, functions, cyclomatic complexity.

    python examples/complexity.py [--limit N] [--workers N]

The complexity of a function is one more than the decisions in it (T. J. McCabe, "A Complexity
Measure", IEEE Transactions on Software Engineering SE-2(4), 1976).  Decisions are `if`, `elif`,
conditional expressions, `for`, `while`, `except`, the `for` and `if` of comprehensions, each `and`
and `or` (McCabe's section on compound predicates), each `case` that can fail to match, and its guard.
A function inside another counts for itself.  A module's complexity is the sum over its functions and
its own code, as McCabe adds up the components of a program.
"""

from __future__ import annotations

import argparse
import ast
import io
import sysconfig
import tokenize
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tokenize import COMMENT, DEDENT, ENCODING, ENDMARKER, INDENT, NEWLINE, NL

import nbpar

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

_NUMBERS = ("lines", "tokens", "functions", "classes", "complexity")
_HEADINGS = ("module", *_NUMBERS, "most complex function")


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method, with the functions inside it left out."""

    name: str
    """Name with the classes and functions around it, for example `Parser.parse`."""

    line: int
    """Line of its `def`, from 1."""

    complexity: int
    """Decisions plus one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one module."""

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
    """A file that this Python cannot parse, such as some test data of the standard library."""

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

    Never raises for the content of the file, nor if it cannot be opened: the result is `Unreadable` then.
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, path)


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
    """Count the decisions of this node itself, without its children."""
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


def table(results: Iterable[Measured | Unreadable], top: int = 15) -> str:
    """Show the modules with the highest complexity, one line each."""
    measured = [one for one in results if isinstance(one, Measured)]
    ranked = sorted(measured, key=lambda one: (-one.complexity, one.path))[:top]
    rows = [_HEADINGS, *map(_cells, ranked)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _cells(one: Measured) -> tuple[str, ...]:
    hardest = f"{one.hardest.name} ({one.hardest.complexity})" if one.hardest else "-"
    return (module_name(one.path), *(f"{getattr(one, name):,}" for name in _NUMBERS), hardest)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *numbers, last = row
    padded = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *padded, last])


def totals(results: Iterable[Measured | Unreadable]) -> str:
    """Show the sums over all modules, and which files could not be parsed and why."""
    results = list(results)
    measured = [one for one in results if isinstance(one, Measured)]
    unreadable = [one for one in results if isinstance(one, Unreadable)]
    sums = ", ".join(f"{sum(getattr(one, name) for one in measured):,} {name}" for name in _NUMBERS[:-1])
    lines = [f"{len(measured):,} modules: {sums}; complexity {sum(one.complexity for one in measured):,}"]
    if unreadable:
        lines.append(f"{len(unreadable):,} more files cannot be parsed by this Python:")
        lines += [f"  {module_name(one.path)}: {one.reason}" for one in unreadable]
    return "\n".join(lines)


def module_name(path: str) -> str:
    """Turn the path of a standard library file into its module's name."""
    root, file = Path(sysconfig.get_path("stdlib")), Path(path)
    inside = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    return ".".join(inside.with_suffix("").parts).removesuffix(".__init__")


def main() -> None:
    """Measure on the CPUs of this machine and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, help="default: the CPUs this process may use")
    parser.add_argument("--limit", type=int, help="only the first N files")
    options = parser.parse_args()
    with nbpar.Pool(options.workers, progress="text") as pool:
        results = pool.map(measure, standard_library()[: options.limit])
    print(f"{table(results)}\n\n{totals(results)}")


if __name__ == "__main__":
    main()
