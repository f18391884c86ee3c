"""Notebooks made of cells, and a check of whether strict nbval accepts them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def stored_notebook(path: Path, cells: Sequence[str]) -> Path:
    """Execute cells and store them as a notebook, as our own script does it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", store_widget_state=False).execute()
    nbformat.write(notebook, path)
    return path


def nbval(notebook: Path) -> subprocess.CompletedProcess[str]:
    """Run a notebook and compare every output with what it stores."""
    options = [
        "--nbval",
        "--nbval-current-env",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "nbpar.testing.nbval_plugin",
    ]
    command = [sys.executable, "-m", "pytest", *options, str(notebook)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=notebook.parent)
