"""Import a package that items are likely to need, in a worker that has nothing else to do."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

from nbpar.host.world import Changes
from nbpar.worker.modules.reload import freshness_of_this_process
from nbpar.worker.run_setup import adopt


def import_ahead(settings: dict[str, Any]) -> None:
    """Import `settings["module"]` in the client's `settings["world"]`; an exception means nothing here."""
    adopt(Changes(*settings["world"]))  # packages read variables when they are imported
    with suppress(BaseException):  # an item that needs it will raise it where it can be seen
        importlib.import_module(settings["module"])
    freshness_of_this_process().note_imports()
