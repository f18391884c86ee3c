"""Do on a worker what the spec of its gateway asks for."""

from __future__ import annotations

import os
from pathlib import Path


def settle(channel: object, chdir: str | None, nice: int | None, env: dict[str, str]) -> None:  # noqa: ARG001 (every code gets it)
    """Set variables, go to a folder, lower the priority."""
    os.environ.update(env)
    if chdir:
        Path(chdir).mkdir(parents=True, exist_ok=True)
        os.chdir(chdir)
    if nice and hasattr(os, "nice"):
        os.nice(nice)
