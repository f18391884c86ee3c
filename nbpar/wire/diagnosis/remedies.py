"""Alternatives to sending objects that cannot be pickled, by type."""

from __future__ import annotations

HERE_ONLY = "it works within one process only: make it inside the function"

_REMEDIES = {
    "open the file inside the function": "_io._IOBase tempfile._TemporaryFileWrapper h5py._hl.base.HLObject",
    "make the reader inside the function": "_csv.reader _csv.Reader _csv.writer _csv.Writer",
    "connect inside the function": (
        "_socket.socket _ssl._SSLContext sqlite3.Connection sqlite3.Cursor selectors.BaseSelector"
        " select.epoll select.poll zmq.sugar.context.Context zmq.sugar.socket.Socket"
    ),
    HERE_ONLY: (
        "_thread.lock _thread.RLock _thread._local threading.Condition threading.Event threading.Semaphore"
        " threading.Barrier queue.Queue _queue.SimpleQueue mmap.mmap _contextvars.Context"
        " _contextvars.ContextVar _contextvars.Token concurrent.futures._base.Executor"
        " multiprocessing.synchronize.SemLock multiprocessing.queues.Queue"
        " multiprocessing.queues.SimpleQueue multiprocessing.pool.Pool"
    ),
    "start it inside the function": (
        "threading.Thread subprocess.Popen multiprocessing.process.BaseProcess"
        " asyncio.events.AbstractEventLoop"
    ),
    "turn it into a list first: `list(...)`": "generator",
    "await it first; a map with `concurrency=` awaits what its function returns": "coroutine",
    "collect it in a list first: `[x async for x in ...]`": "async_generator",
    "take its `result()` first": "concurrent.futures._base.Future _asyncio.Future asyncio.futures.Future",
    "keep its text instead: `traceback.format_exc()`": "frame traceback",
    "send `bytes(...)` of it": "memoryview",
    "hold the object itself, or its name": (
        "weakref weakproxy weakref.ReferenceType weakref.ProxyType weakref.WeakValueDictionary"
        " weakref.WeakKeyDictionary"
    ),
    "a pointer means nothing in another process: send the value, or load the library inside the function": (
        "_ctypes._SimpleCData _ctypes._Pointer _ctypes.CFuncPtr _ctypes.Structure _ctypes.Array"
    ),
    "call `logging.getLogger` inside the function instead": "logging.Handler",
    "send what it found instead: `.group()`, `.span()`": "re.Match",
    "import it inside the function": "module",
    "send its `digest()`": "_hashlib.HASH",
    "use a plain object in its place": "unittest.mock.NonCallableMock",
    "read its values before, for example `.value`": "traitlets.traitlets.HasTraits",
    "draw inside the function and return the picture's bytes": (
        "matplotlib.artist.Artist matplotlib.backend_bases.FigureCanvasBase"
    ),
    "leave it in the notebook": (
        "IPython.core.interactiveshell.InteractiveShell ipyparallel.client.client.Client tkinter.Misc"
    ),
    "call `nbpar.map` inside the function instead": "nbpar.pool.pool.Pool",
}

_HARMLESS = {"_io.StringIO", "_io.BytesIO"}

_BY_NAME = {"connection": "connect inside the function", "cursor": "connect inside the function"}
"""For the types of the many database drivers."""


_BY_KIND = {kind: remedy for remedy, kinds in _REMEDIES.items() for kind in kinds.split()}


def remedy_for(kind: type) -> str | None:
    """Return the remedy for objects of a type that can never be sent; None for other types."""
    bases = [f"{base.__module__}.{base.__qualname__}".removeprefix("builtins.") for base in kind.__mro__]
    if bases[0] in _HARMLESS:
        return None
    return next((_BY_KIND[base] for base in bases if base in _BY_KIND), _BY_NAME.get(kind.__name__.lower()))


def remedy_for_name(name: str) -> str | None:
    """Return the same for a type name in an exception's text."""
    return _BY_KIND.get(name) or _BY_KIND.get(f"_socket.{name}")


def full_name(kind: type) -> str:
    """Return a type's name for readers: with its module, unless that is uninformative."""
    name = kind.__qualname__.rpartition("<locals>.")[2]
    return name if kind.__module__ in ("builtins", "__main__", "_io") else f"{kind.__module__}.{name}"
