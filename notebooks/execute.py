"""Execute the notebooks in this environment, in place, and store only the outputs that readers need.

    python notebooks/execute.py                     # all of them
    python notebooks/execute.py 01-quickstart.ipynb
    python notebooks/execute.py --to FOLDER          # do not change the ones here

The strict tests compare with the stored outputs, so run it after every change of a notebook or of the
output of its cells.  Widgets, metadata and paths of this machine are removed.  It fails if a notebook
takes too long or too much memory.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from meter import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
CELL_LIMIT = 120
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute and clean the notebooks; a cell that fails unexpectedly ends it with its traceback."""
    asked = _parse(arguments)
    paths = [HERE / name for name in asked.notebooks] or sorted(HERE.glob("*.ipynb"))
    modest = [_renew(path, Path(asked.to) / path.name) for path in paths]
    return int(not all(modest))


def _renew(path: Path, target: Path) -> bool:
    """Execute one notebook and store it; return whether it was modest."""
    notebook = nbformat.read(path, as_version=4)
    with Meter() as meter:
        execute(notebook, path.parent)
    clean(notebook)
    _write(notebook, target)
    print(f"{path.name}: {meter}{'' if meter.modest else ', which is too much'}")
    return meter.modest


def execute(notebook: Any, folder: Path) -> None:
    """Run every cell, in the kernel of the Python that runs this."""
    from nbclient import NotebookClient

    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    NotebookClient(
        notebook,
        timeout=CELL_LIMIT,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def clean(notebook: Any) -> None:
    """Remove whatever differs between executions or machines."""
    notebook.metadata = nbformat.from_dict(METADATA)
    taken: set[str] = set()
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = _unused(cell.get("id") or f"cell-{number}", taken)
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", ()):
            _clean_output(output)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("data", True)]


def _clean_output(output: Any) -> None:
    if "metadata" in output:
        output.metadata = nbformat.from_dict({})
    output.get("data", {}).pop(WIDGET, None)
    if output.output_type == "error":
        output.traceback = [_without_places(line) for line in output.traceback]
    if output.output_type == "stream":
        output.text = _without_places(output.text)


def _without_places(text: str) -> str:
    """Shorten paths of installed files to what follows their folder, and those of cells to nothing."""
    text = re.sub(r"/[\w./-]*ipykernel_\d+/\d+\.py", "cell", text.replace(f"{HERE.parent}/", ""))
    return re.sub(r"[^\s;]*/(site-packages|lib/python3\.\d+)/", "", text)


def _unused(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name


def _write(notebook: Any, path: Path) -> None:
    """Replace the file at once, so that a failure leaves the old one."""
    fresh = path.with_suffix(".ipynb.new")
    nbformat.validate(notebook)
    nbformat.write(notebook, fresh)
    fresh.replace(path)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="default: all in this folder")
    parser.add_argument("--to", metavar="FOLDER", default=HERE, help="where to store them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
