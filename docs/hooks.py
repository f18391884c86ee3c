"""Bring the notebooks, which live beside the documentation, into the site and its table of contents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
BEFORE = "Reference"
"""The entry of the table of contents that the notebooks precede."""


TAGS = re.compile(r'<div class="celltoolbar">.*?</span>\s*</div>\s*</div>', re.DOTALL)
"""The labels that nbconvert puts above a cell with tags, which are for tests."""

IMAGE = re.compile(r"<img\b[^>]*>")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (mkdocs')
    """Leave out labels of tags, and write images that would be fetched from elsewhere as words."""
    return IMAGE.sub(_at_home, TAGS.sub("", html))


def _at_home(image: re.Match[str]) -> str:
    said = dict(re.findall(r'\b(src|alt)="([^"]*)"', image[0]))
    return said.get("alt", "") if said.get("src", "").startswith(("http:", "https:", "//")) else image[0]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the notebooks in the table of contents by their own titles."""
    entries = config.nav or []
    place = next(at for at, entry in enumerate(entries) if BEFORE in entry)
    entries.insert(place, {"Notebooks": [{_title(path): _place(path)} for path in NOTEBOOKS]})
    return config


@event_priority(100)  # before the plugin that renders notebooks looks for them
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks themselves."""
    for path in NOTEBOOKS:
        files.append(File(_place(path), str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def _place(path: Path) -> str:
    return f"notebooks/{path.name}"


def _title(path: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"]]
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), path.stem)
