"""On some versions of Python, parsing in user code can fail while a thread of ours parses."""

import subprocess
import sys

import pytest

PROGRAM = """
import ast
import builtins
import inspect
import threading

import nbpar

parsing = set()


def compile_and_note(*arguments, real=compile, **more):
    flags = arguments[3] if len(arguments) > 3 else more.get("flags", 0)
    if flags & ast.PyCF_ONLY_AST and any("codeutil" in call.filename for call in inspect.stack(0)):
        parsing.add(threading.current_thread().name)
    return real(*arguments, **more)


builtins.compile = compile_and_note
with nbpar.Pool(1, progress="none") as pool:
    print(pool.map(abs, [-1]), parsing)
from ipyparallel.serialize import canning
print(canning.codeutil.__name__)
"""


@pytest.mark.engines
def test_a_pool_starts_without_parsing_a_signature_in_its_thread():
    program = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True)

    assert program.stdout == "[1] {'MainThread'}\nipyparallel.serialize.codeutil\n", program.stderr
