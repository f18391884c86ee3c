"""IPython's shell in a worker that is no kernel: made as soon as an item imports IPython.

Displays of items are recorded where IPython publishes them, and code may ask `get_ipython()` where it runs.
So a worker without a controller has a shell as an engine has, but only if an item uses IPython, whose import
takes longer than that of all that a worker needs.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

from nbpar.host.error_log import log_warning
from nbpar.worker.output.streams import renew

_NAME = "IPython"


def make_shell_on_demand() -> None:
    """Make a shell as soon as IPython is first imported; does nothing if it was imported before."""
    if _NAME not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds IPython as others do, and adds to what its import does."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return IPython's specification; None for any other module."""
        if name != _NAME:
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]  # it has what is asked of one
        return spec


class _Loader:
    """Loads IPython, and makes its shell."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as usual."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run the module as usual, and make the shell."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        try:
            _make_shell()
        except Exception as error:  # noqa: BLE001 (of a version that is different: items can do without)
            log_warning("this worker has no IPython shell", error)
        renew()


class _NoComms:
    """Takes targets of comms, which nobody opens here; ipywidgets 7 registers one when it is imported."""

    def register_target(self, name: str, callback: object) -> None:
        pass

    def unregister_target(self, name: str, callback: object) -> None:
        pass


def _make_shell() -> None:
    """Make the shell that an engine has, with what shows and publishes results without a kernel."""
    from ipykernel import zmqshell
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from traitlets import Type
    from traitlets.config import Config

    class ZMQInteractiveShell(zmqshell.ZMQInteractiveShell):  # type: ignore[misc]  # code asks for this name
        displayhook_class = Type(DisplayHook)
        display_pub_class = Type(DisplayPublisher)
        __module__ = zmqshell.__name__
        __qualname__ = "ZMQInteractiveShell"

    main = sys.modules["__main__"]
    config = Config({"HistoryManager": {"enabled": False}})  # it would open a file, and start a thread
    shell = ZMQInteractiveShell.instance(config=config, user_module=main)
    shell.kernel = SimpleNamespace(comm_manager=_NoComms(), eventloop=None)
    sys.modules["__main__"] = main
