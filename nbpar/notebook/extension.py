"""Register nbpar's magics in an IPython shell, and remove them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbpar.notebook.channel_magic import ChannelMagic
from nbpar.notebook.commands import Commands
from nbpar.notebook.completion import option_matcher
from nbpar.notebook.config import NbparMagics
from nbpar.notebook.magics import ParallelMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbpar.notebook.pools import Pools

_MARK = "_nbpar_installed"


@dataclass(frozen=True, slots=True)
class _Installed:
    """The objects installed into a shell."""

    parallel_map: ParallelMap
    settings: NbparMagics
    matcher: Callable[[Any], Any] | None


def install(shell: Any, pools: Pools) -> None:
    """Register the magics, which take their pools from `pools`.  A repeated call replaces them."""
    uninstall(shell)
    settings = NbparMagics(parent=shell)
    shell.configurables.append(settings)  # where `%config` looks
    parallel_map, commands = ParallelMap(shell, pools), Commands(pools, lambda: shell.user_ns)
    shell.register_magic_function(parallel_map.parallel_map, magic_kind="cell", magic_name="parallel_map")
    channel = ChannelMagic(shell, pools, lambda: parallel_map._cell)  # noqa: SLF001 (one listener is enough)
    shell.register_magic_function(channel.channel, magic_kind="cell", magic_name="channel")
    shell.register_magic_function(commands.nbpar, magic_kind="line", magic_name="nbpar")
    shell.events.register("pre_run_cell", parallel_map.remember_cell)
    matcher = option_matcher(commands.table, lambda: shell.user_ns)
    if matcher is not None:
        shell.Completer.custom_matchers.append(matcher)
    setattr(shell, _MARK, _Installed(parallel_map, settings, matcher))


def uninstall(shell: Any) -> None:
    """Remove the objects that `install` added; a shell without them does not change."""
    installed: _Installed | None = getattr(shell, _MARK, None)
    if installed is None:
        return
    installed.settings.leave()
    shell.configurables.remove(installed.settings)
    shell.events.unregister("pre_run_cell", installed.parallel_map.remember_cell)
    if installed.matcher is not None:
        shell.Completer.custom_matchers.remove(installed.matcher)
    for kind, name in (("cell", "parallel_map"), ("cell", "channel"), ("line", "nbpar")):
        shell.magics_manager.magics[kind].pop(name, None)
    delattr(shell, _MARK)
