"""`nbpar demo | doctor`: the command line.

Each command is a module with a `main(arguments)` of its own, imported on demand.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

import nbpar

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "demo": (
        "nbpar.diagnostics.demo",
        "count what is in Python's standard library, serially and in parallel",
    ),
    "doctor": ("nbpar.diagnostics.doctor", "say what of this installation works and what does not"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; the arguments after its name are passed to it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = _parser().parse_args(given[:1]).command
    command = importlib.import_module(COMMANDS[name][0])
    return int(command.main(given[1:]) or 0)


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:<8} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="nbpar",
        description=nbpar.__doc__,
        epilog=f"commands:\n{lines}\n\n`nbpar COMMAND --help` shows a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nbpar {nbpar.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="demo or doctor")
    return parser


if __name__ == "__main__":
    sys.exit(main())
