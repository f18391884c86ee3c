"""Run a loop of a notebook in parallel: live, ordered, interruptible, on ipyparallel engines.

    import nbpar
    nbpar.map(fn, items)                 # on the default pool
    with nbpar.Pool(4) as pool: ...      # on your own pool

In a notebook `%load_ext nbpar` adds `%%parallel_map` and `%nbpar`.

(PYTEST_DONT_REWRITE: this may be imported before pytest, for which nbpar has a plugin, starts.)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.version import __version__

if TYPE_CHECKING:  # for type checkers; at run time `__getattr__` imports them
    from nbpar import pandas
    from nbpar.channels.files import push_files
    from nbpar.channels.multichannel import MultiChannel
    from nbpar.cluster.cluster import Cluster
    from nbpar.core.outcome import Failure
    from nbpar.core.rates.rate import Rate
    from nbpar.core.rates.retry import Retry
    from nbpar.core.results import Results
    from nbpar.diagnostics.advice import advise
    from nbpar.errors import (
        BlockedLoopWarning,
        ChannelBroken,
        ChannelClosed,
        ChannelError,
        ClusterError,
        CodeInterrupted,
        EndOfChannel,
        GatewayBusy,
        InputExitedError,
        InternalError,
        ItemExitedError,
        ItemTimeoutError,
        JournalError,
        JournalWarning,
        LostChangeWarning,
        MissingPackagesError,
        NbparError,
        NoWorkersError,
        PackageVersionWarning,
        PicklingError,
        PoolClosedError,
        RemoteError,
        SkippedError,
        StaleModuleWarning,
        StoppedError,
        StrayExceptionWarning,
        WorkerDied,
        WrongNumberError,
    )
    from nbpar.integrations.joblib import register_joblib
    from nbpar.journal.listing import journals
    from nbpar.pipeline.pipeline import Pipeline, Union, pipe
    from nbpar.pipeline.stage import Stage
    from nbpar.pool.defaults import each, imap, imap_unordered, map, map_async, starmap, submit, use  # noqa: A004 (our map)
    from nbpar.pool.group import Group
    from nbpar.pool.pool import Pool
    from nbpar.run.history import runs
    from nbpar.run.run import Run
    from nbpar.worker.initializer import initialized
    from nbpar.worker.seeding import rng

    last_run: Run | None

_HOMES = {
    "nbpar.diagnostics.advice": ("advise",),
    "nbpar.channels.files": ("push_files",),
    "nbpar.pool.group": ("Group",),
    "nbpar.channels.multichannel": ("MultiChannel",),
    "nbpar.cluster.cluster": ("Cluster",),
    "nbpar.core.outcome": ("Failure",),
    "nbpar.core.results": ("Results",),
    "nbpar.core.rates.rate": ("Rate",),
    "nbpar.core.rates.retry": ("Retry",),
    "nbpar.worker.initializer": ("initialized",),
    "nbpar.worker.seeding": ("rng",),
    "nbpar.pool.defaults": ("each", "imap", "imap_unordered", "map", "map_async", "starmap", "submit", "use"),
    "nbpar.errors": (
        "BlockedLoopWarning",
        "ChannelBroken",
        "ChannelClosed",
        "ChannelError",
        "ClusterError",
        "CodeInterrupted",
        "EndOfChannel",
        "GatewayBusy",
        "InputExitedError",
        "InternalError",
        "ItemExitedError",
        "ItemTimeoutError",
        "JournalError",
        "JournalWarning",
        "LostChangeWarning",
        "MissingPackagesError",
        "NbparError",
        "NoWorkersError",
        "PackageVersionWarning",
        "PicklingError",
        "PoolClosedError",
        "RemoteError",
        "SkippedError",
        "StaleModuleWarning",
        "StrayExceptionWarning",
        "StoppedError",
        "WorkerDied",
        "WrongNumberError",
    ),
    "nbpar.integrations.joblib": ("register_joblib",),
    "nbpar.pipeline.pipeline": ("Pipeline", "Union", "pipe"),
    "nbpar.pipeline.stage": ("Stage",),
    "nbpar.journal.listing": ("journals",),
    "nbpar.pool.pool": ("Pool",),
    "nbpar.run.history": ("runs",),
    "nbpar.run.run": ("Run",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "last_run", *_HOME_OF]  # noqa: PLE0604 (names come from the table above)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import nbpar` itself loads nothing heavy."""
    if name == "last_run":
        return import_module("nbpar.run.history").run
    if name == "pandas":  # not in `__all__`: `from nbpar import *` must not replace the real one
        return import_module("nbpar.pandas")
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
