"""Run a loop of a notebook in parallel: live, ordered, interruptible, on ipyparallel engines.

    import nbpar
    nbpar.map(fn, items)                 # on the default pool
    with nbpar.Pool(4) as pool: ...      # on a pool of one's own

In a notebook `%load_ext nbpar` adds `%%parallel_map` and `%nbpar`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.version import __version__

if TYPE_CHECKING:  # for type checkers; at run time `__getattr__` imports them
    from nbpar.advice import advise
    from nbpar.channels.files import push_files
    from nbpar.channels.group import Group
    from nbpar.channels.multichannel import MultiChannel
    from nbpar.cluster.cluster import Cluster
    from nbpar.core.outcome import Failure
    from nbpar.core.results import Results
    from nbpar.core.retry import Retry
    from nbpar.core.seeding import rng
    from nbpar.defaults import each, imap, imap_unordered, map, map_async, starmap, submit  # noqa: A004 (our map)
    from nbpar.errors import (
        ChannelBroken,
        ChannelClosed,
        ChannelError,
        ClusterError,
        CodeInterrupted,
        EndOfChannel,
        GatewayBusy,
        ItemExitedError,
        ItemTimeoutError,
        JournalError,
        JournalWarning,
        NbparError,
        NoWorkersError,
        PicklingError,
        PoolClosedError,
        RemoteError,
        StaleModuleWarning,
        StoppedError,
        WorkerDied,
        WrongNumberError,
    )
    from nbpar.integrations.joblib import register_joblib
    from nbpar.journal.listing import journals
    from nbpar.pipeline.pipe import pipe
    from nbpar.pipeline.pipeline import Pipeline, Union
    from nbpar.pipeline.stage import Stage
    from nbpar.pool import Pool
    from nbpar.run import Run

    last_run: Run | None

_HOMES = {
    "nbpar.advice": ("advise",),
    "nbpar.channels.files": ("push_files",),
    "nbpar.channels.group": ("Group",),
    "nbpar.channels.multichannel": ("MultiChannel",),
    "nbpar.cluster.cluster": ("Cluster",),
    "nbpar.core.outcome": ("Failure",),
    "nbpar.core.results": ("Results",),
    "nbpar.core.retry": ("Retry",),
    "nbpar.core.seeding": ("rng",),
    "nbpar.defaults": ("each", "imap", "imap_unordered", "map", "map_async", "starmap", "submit"),
    "nbpar.errors": (
        "ChannelBroken",
        "ChannelClosed",
        "ChannelError",
        "ClusterError",
        "CodeInterrupted",
        "EndOfChannel",
        "GatewayBusy",
        "ItemExitedError",
        "ItemTimeoutError",
        "JournalError",
        "JournalWarning",
        "NbparError",
        "NoWorkersError",
        "PicklingError",
        "PoolClosedError",
        "RemoteError",
        "StaleModuleWarning",
        "StoppedError",
        "WorkerDied",
        "WrongNumberError",
    ),
    "nbpar.integrations.joblib": ("register_joblib",),
    "nbpar.pipeline.pipe": ("pipe",),
    "nbpar.pipeline.pipeline": ("Pipeline", "Union"),
    "nbpar.pipeline.stage": ("Stage",),
    "nbpar.journal.listing": ("journals",),
    "nbpar.pool": ("Pool",),
    "nbpar.run": ("Run",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "last_run", *_HOME_OF]  # noqa: PLE0604 (names come from the table above)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import nbpar` itself loads nothing heavy."""
    if name == "last_run":
        return import_module("nbpar.last").run
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nbpar' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ip: Any) -> None:
    """Add the magics: `%load_ext nbpar`."""
    import_module("nbpar.notebook").load_ipython_extension(ip)


def unload_ipython_extension(ip: Any) -> None:
    """Take the magics away: `%unload_ext nbpar`."""
    import_module("nbpar.notebook").unload_ipython_extension(ip)
