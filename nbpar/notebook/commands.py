"""`%nbpar`: see the workers, start and stop them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from nbpar.notebook.status import Status, status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbpar.doctor import Diagnosis
    from nbpar.notebook.pools import MapPool, Pools


class Commands:
    """The commands of one shell, by the word that follows `%nbpar`."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self.table: Mapping[str, Callable[[list[str]], Status | Diagnosis]] = {
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "resize": self._resize,
            "doctor": _doctor,
        }

    def nbpar(self, line: str) -> Status | Diagnosis:
        """Show the workers, or start and stop them.

        ::

            %nbpar              the workers: host, process, CPU, memory
            %nbpar start [N]    start N workers, by default one for each CPU
            %nbpar stop         end them all
            %nbpar restart      end them and start as many afresh
            %nbpar resize N     go on with N workers
            %nbpar doctor       check the installation, and say what to do about what is wrong
        """
        command, *arguments = line.split() or [""]
        if not command:
            return self._status()
        if command not in self.table:
            raise UsageError(_unknown_command(command, self.table))
        return self.table[command](arguments)

    def _status(self) -> Status:
        return status(self._pools.default_pools())

    def _start(self, arguments: list[str]) -> Status:
        count = _count(arguments, "%nbpar start [N]") if arguments else None
        self._pools.default_pool(workers=count)
        return self._status()

    def _stop(self, arguments: list[str]) -> Status:
        _refuse_arguments(arguments, "%nbpar stop")
        self._pools.close_default_pools()
        return self._status()

    def _restart(self, arguments: list[str]) -> Status:
        _refuse_arguments(arguments, "%nbpar restart")
        for pool in self._pools.default_pools():
            _operation(pool, "restart")()
        return self._status()

    def _resize(self, arguments: list[str]) -> Status:
        count = _count(arguments, "%nbpar resize N")
        _operation(self._pools.default_pool(), "resize")(count)
        return self._status()


def _doctor(arguments: list[str]) -> Diagnosis:
    _refuse_arguments(arguments, "%nbpar doctor")
    from nbpar.doctor import examine, run_small_map

    return examine(lambda: run_small_map(2))


def _operation(pool: MapPool, name: str) -> Callable[..., object]:
    """What a pool may offer beyond maps."""
    operation: Callable[..., object] | None = getattr(pool, name, None)
    if operation is None:
        raise UsageError(f"this pool offers no {name}; write `%nbpar stop`, then `%nbpar start N`")
    return operation


def _count(arguments: list[str], form: str) -> int:
    if len(arguments) != 1 or not arguments[0].isdecimal() or int(arguments[0]) < 1:
        raise UsageError(
            f"expected one number of workers, from 1, was {' '.join(arguments)!r}; write `{form}`"
        )
    return int(arguments[0])


def _refuse_arguments(arguments: list[str], form: str) -> None:
    if arguments:
        raise UsageError(f"`{form}` takes no arguments, was given {' '.join(arguments)!r}")


def _unknown_command(command: str, table: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(command, table, n=1)
    guess = f"; did you mean `%nbpar {near[0]}`?" if near else ""
    known = ", ".join(f"`%nbpar {name}`" for name in table)
    return f"unknown command `%nbpar {command}`{guess} (the commands are `%nbpar`, {known})"
