"""Write the badges of each notebook (Colab, Binder), and the cell that installs nbpar there.

    python notebooks/badges.py            # write them
    python notebooks/badges.py --check    # say which notebooks differ, and change nothing

The addresses come from `[tool.nbpar]` in pyproject.toml: change them there when the project moves.
Execute a notebook again if its first code cell was added or changed here.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import nbformat

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).parent
COLAB = "https://colab.research.google.com"
BINDER = "https://mybinder.org"
BADGES = re.compile(r"\n*^\[!\[Open in Colab\].*$\n*", re.MULTILINE)
INSTALL = """\
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "{requirement}"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the badges of all notebooks, and of the README where it has some."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something differs")
    check = parser.parse_args(arguments).check
    home, differing = addresses(), 0
    for path in sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if not put(notebook, path.name, home):
            continue
        differing += 1
        print(f"{path.name} {'differs' if check else 'has new badges'}")
        if not check:
            nbformat.write(notebook, path)
    differing += _write_readme(HERE.parent / "README.md", home, check=check)
    return int(check and differing > 0)


def _write_readme(path: Path, home: Mapping[str, str], *, check: bool) -> bool:
    """Put the quickstart's badges where the README has badges; return whether they differed."""
    text = path.read_text("utf-8")
    fresh = BADGES.sub(lambda _: f"\n\n{badges('01-quickstart.ipynb', home)}\n\n", text, count=1)
    if fresh == text:
        return False
    print(f"{path.name} {'differs' if check else 'has new badges'}")
    if not check:
        path.write_text(fresh, "utf-8")
    return True


def addresses() -> Mapping[str, str]:
    """Return `[tool.nbpar]`: `repository` (owner/name), `branch` and `install`, what pip installs."""
    text = (HERE.parent / "pyproject.toml").read_text("utf-8")
    table: Mapping[str, str] = tomllib.loads(text)["tool"]["nbpar"]
    return table


def badges(name: str, home: Mapping[str, str]) -> str:
    """Return the line for a notebook of this name."""
    repository, branch = home["repository"], home["branch"]
    colab = f"{COLAB}/github/{repository}/blob/{branch}/notebooks/{name}"
    binder = f"{BINDER}/v2/gh/{repository}/{branch}?labpath={quote(f'notebooks/{name}', safe='')}"
    return (
        f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Binder]({BINDER}/badge_logo.svg)]({binder})"
    )


def put(notebook: Any, name: str, home: Mapping[str, str]) -> bool:
    """Put badges below the title and the installing cell below that; return whether anything changed."""
    before = nbformat.writes(notebook)
    title = notebook.cells[0]
    heading, _, rest = BADGES.sub("\n\n", title.source).partition("\n")
    title.source = f"{heading}\n\n{badges(name, home)}\n\n{rest.strip()}".strip()
    if notebook.cells[1].get("id") != "install":
        notebook.cells.insert(1, nbformat.v4.new_code_cell(id="install"))
    notebook.cells[1].source = INSTALL.format(requirement=home["install"]).strip()
    return bool(nbformat.writes(notebook) != before)


if __name__ == "__main__":
    sys.exit(main())
