"""A cluster: a controller and its engines, started, healed, resized and stopped together."""

from __future__ import annotations

import os
import time as clock
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.cluster.base import Deployment, Engine, Settings, open_with_free_ports, surplus, with_logs
from nbpar.cluster.client import checked_count, open_client
from nbpar.cluster.demand import DemandState
from nbpar.cluster.deployments import DIRECT, START_TIMEOUT, checked_kind, deployment_for, own_variables
from nbpar.cluster.direct import DirectDeployment
from nbpar.cluster.files import parse_files
from nbpar.cluster.fork_server.server import can_fork
from nbpar.cluster.forked import ForkedDeployment
from nbpar.cluster.members import MemberList, Members
from nbpar.cluster.ownership import Occupancy, clean_up, close_down, stop_at_exit
from nbpar.cluster.remote import SILENCE
from nbpar.core.checks import check_seconds
from nbpar.errors import ClusterError
from nbpar.host.frames import entrance
from nbpar.host.interpreter_exit import ExitOrder, interpreter
from nbpar.host.janitor import Janitor, users_line
from nbpar.host.world import World

if TYPE_CHECKING:
    from typing_extensions import Self


ANSWER_TIMEOUT = 10.0
"""Seconds for a ready controller to answer."""

ORDERS = 3
"""Number of times engines are started if some end before all are present."""

FORGET_WITHIN = 5.0
"""Seconds for this process's own client to remove an engine."""

INSTALL_TIMEOUT = 900.0
"""Seconds to wait for engines on hosts where packages may have to be installed."""

STOPPED = "the cluster was stopped meanwhile"


class Cluster(DemandState):
    """An ipyparallel controller and engines that start fast, heal, and leave nothing behind.

    Everything ends with this process, however that ends; and before that, with a ResourceWarning, when it is
    dropped without `stop()`.  All methods may be called from any thread, also inside a notebook's kernel.

    Args:
        n: number of engines; by default one per CPU available to this process.
        engines: "nbpar" forks them from a fork server, "ssh" on other hosts (`hosts=` as of `Cluster.ssh`),
            "slurm", "pbs", "lsf" and "sge" in jobs (options as of `Cluster.slurm`);
            any other name ("local", "mpi", ...) or launcher class is ipyparallel's.
        preload: modules to import once, before the engines are forked.
        env: environment variables for the engines, in addition to this process's.
        gpus, per_worker: a device, or variables, for each engine, as of `Pool`; jobs ask for theirs.
        cwd: folder the engines start in; by default the current one.
        nice: decrease of the engines' priority, as in `os.nice`.
        start_timeout: seconds to wait for engines; by default 60, for the first one in a job an hour.
        heal: whether engines that die are replaced.
        files: files and folders that other hosts get before a pool's runs, as by `nbpar.push_files`: relative
            ones in the engines' working folder, others at the same path.
        options: further arguments of ipyparallel's own Cluster, for engines other than "nbpar".

    Raises:
        TypeError, ValueError: an argument is invalid; the message says what is allowed.

    Example:
        >>> with Cluster(2) as cluster:
        ...     cluster.client[:].apply_sync(sum, [1, 2])
        [3, 3]
    """

    @entrance
    def __init__(
        self,
        n: int | None = None,
        *,
        engines: Any = "nbpar",
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        gpus: Any = None,
        per_worker: Any = None,
        cwd: str | os.PathLike[str] | None = None,
        nice: int | None = None,
        start_timeout: float | None = None,
        heal: bool = True,
        files: Sequence[str | os.PathLike[str]] = (),
        **options: Any,
    ) -> None:
        if n is not None:
            n = checked_count(n)
        patience = START_TIMEOUT
        if engines != "nbpar" or options:
            engines, n, options, patience = checked_kind(engines, n, options, gpus)
        n, each = own_variables(n, engines, gpus, per_worker, env)
        super().__init__(n)
        self._settings = Settings.of(preload=preload, env=env, cwd=cwd, nice=nice, heal=heal, per_worker=each)
        self._engines = "local" if engines == "nbpar" and not can_fork() else engines
        self._start_timeout = check_seconds(
            "start_timeout", patience if start_timeout is None else start_timeout
        )
        self._options = options
        self.files = parse_files(files)
        """Files of other hosts, for pools: absolute path here, path there."""

        self._heal = self._settings.heal
        self.world = World()
        """State of this process when the cluster was started."""
        self._occupancy = Occupancy(self)
        self._made_at = users_line()
        self._at_exit = partial(stop_at_exit, weakref.ref(self))

    @classmethod
    def ssh(
        cls,
        hosts: str | Iterable[str] | Mapping[str, int | None],
        n: int | None = None,
        *,
        python: str | Mapping[str, str] | None = None,
        command: str | Sequence[str] = "ssh",
        install: bool | Sequence[str] = False,
        give_up_after: float = SILENCE,
        **settings: Any,
    ) -> Self:
        """A cluster with its controller here and its engines on other hosts, through nothing but `ssh HOST`.

        Engines end with this process, or when the connection is lost; nothing stays on the hosts.

        Args:
            hosts: names as for `ssh`, with or without a number of engines: `["gpu01:8", "ann@gpu02"]` or
                `{"gpu01": 8, "ann@gpu02": 16}`.
            n: number of engines on each host without a number; by default one per CPU there.
            python: the Python on the hosts, of this one's minor version: a path, a command or the name of an
                environment; or a dict of these by host.  By default an environment of this one's name, else
                the first Python that fits.
            command: the ssh client, a list with its options.
            install: True makes a private environment, in the user's cache there, where no Python fits; a list
                of packages makes one with these, and engines run in no other.
            give_up_after: seconds, 2 to 60, without a sign of life after which a host is given up: its items
                are tried again elsewhere, and it is connected to again as soon as it answers.
            settings: `preload`, `env`, `cwd`, `nice`, `start_timeout`, `heal` and `files`, as of `Cluster`.

        Raises:
            TypeError: an argument is of the wrong kind; the message says what is allowed.
            ClusterError: a host is misspelled or named twice.
        """
        from nbpar.cluster.remote.hosts import parse_hosts

        where = parse_hosts(hosts, n, python, command, install, give_up_after)
        if where.install is not None:
            settings.setdefault("start_timeout", INSTALL_TIMEOUT)
        return cls(engines=where, **settings)

    @classmethod
    def slurm(
        cls,
        n: int,
        *,
        time: str | float | timedelta | None = None,
        partition: str | None = None,
        memory: str | None = None,
        gpus: int | str | None = None,
        cpus: int = 1,
        account: str | None = None,
        extra: Sequence[str] = (),
        host: str | None = None,
        python: str | None = None,
        command: str | Sequence[str] = "ssh",
        run_folder: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> Self:
        """A cluster with its controller here and each engine in a Slurm job of its own.

        It starts when the first job does; other engines take part as soon as their jobs start.  Jobs end
        with the cluster, and with this process, however that ends.

        Args:
            n: number of engines.
            time: time limit of each job: "1:30:00", "2-12:00:00", a number of seconds or a timedelta.
            partition: where they run.
            memory: memory of each engine, such as "4G".
            gpus: number of GPUs of each engine, or with their type: "a100:2".
            cpus: number of CPUs of each engine.
            account: account that is charged.
            extra: further options of `sbatch`, such as `["--constraint=ib"]`.
            host: the login node, as `ssh` knows it; None: this machine is one.
            python: the Python on the nodes, and on `host`, as of `Cluster.ssh`.
            command: the ssh client, a list with its options.
            run_folder: a folder that the nodes share with the login node; by default `nbpar` in its cache.
            settings: `preload`, `env`, `cwd`, `nice`, `start_timeout`, `heal` and `files`, as of `Cluster`.

        Raises:
            ClusterError: a value is not valid.
        """
        from nbpar.cluster.batch.jobs import OPTIONS, jobs_of_options

        values = (time, partition, memory, gpus, cpus, account, extra, host, python, command, run_folder)
        jobs = jobs_of_options("slurm", dict(zip(OPTIONS, values, strict=True)))
        return cls(n, engines=jobs, **settings)

    @classmethod
    def mpi(
        cls,
        n: int | None = None,
        *,
        hosts: Any = None,
        command: str | Sequence[str] = "mpiexec",
        arguments: Sequence[str] = (),
        run_folder: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> Self:
        """A cluster whose engines are the ranks of one MPI program, which needs mpi4py.

        Args:
            n: number of engines, the size of `MPI.COMM_WORLD`; by default those of the hosts.
            hosts: where they run, `{"gpu01": 4, "gpu02": 4}`, with nbpar at the same path; None: here.
            command: the program that starts MPI programs, with options or without.
            arguments: further options of it, such as `["--bind-to", "none"]`.
            run_folder: a folder that the hosts share; by default `nbpar` in the user's cache.
            settings: as of `Cluster`.
        """
        from nbpar.cluster.launched.ranks import ranks_of

        n, config = ranks_of(n, hosts, command, arguments, run_folder)
        return cls(n, engines="mpi", config=config, **settings)

    # ---- life cycle

    @entrance
    def start(self) -> Self:
        """Start controller and engines and wait until all engines are ready; does nothing if they run.

        Raises:
            ClusterError: they did not start; the message has the reason and their logs; nothing is left.
        """
        with self._life:
            if self.running:
                return self
            self._tear_down()
            self.was_stopped = False
            self._check_number(self._n, None)
            stays, forked = self._settings.folder is not None, self._engines != "local"
            self.world = World(self._settings.kept, stays=stays, forked=forked)
            deadline = self._deadline()
            self._janitor = self._janitor or Janitor(self._made_at)
            try:
                open_with_free_ports(partial(self._open_room, deadline), self._tear_down)
                self._fill(self._n, deadline)
            except BaseException:
                self._tear_down()
                raise
            interpreter.end_with(self._at_exit, ExitOrder.CLUSTER)
        return self

    @entrance
    def stop(self) -> None:
        """End all its processes; on return nothing is left.  Idempotent."""
        if os.getpid() != self._owner_pid:  # a fork of the owner must not end the owner's engines
            return
        self.was_stopped = True
        stop = object()
        self._stops.add(stop)
        try:
            if (members := self._members) is not None:
                members.wake()  # stop waiting for engines there
            with self._life:
                self._tear_down()
                janitor, self._janitor = self._janitor, None
        finally:
            self._stops.discard(stop)
        interpreter.forget(self._at_exit)
        if janitor is not None:
            janitor.dismiss()

    def __del__(self) -> None:
        janitor = self._janitor
        if janitor is None or self.is_kept or os.getpid() != self._owner_pid:
            return
        janitor.take(partial(clean_up, self._at_exit, self._members, self._client, self._room))
        if self.running:
            what = f"<nbpar.Cluster: {self._n} engines>"  # its representation takes locks
            janitor.warn(what, "stop", source=self)

    @entrance
    def add(self, count: int = 1) -> tuple[Engine, ...]:
        """Start more engines and return them when they are ready.

        Raises:
            ClusterError: not all of them started; the message has the reason, and the others are kept.
        """
        number = checked_count(count)
        with self._life:
            room, members = self._running()
            before = members.ids().keys()
            self._check_number(len(before) + number, number)
            room.add(number)
            self._n += number
            self._await(lambda ids: len(ids.keys() - before) >= number, self._deadline())
            new = tuple(engine for engine in self.engines if engine.uuid not in before)
            if (missing := number - len(new)) > 0:
                self._n -= missing
                room.withdraw(missing)
                raise self._did_not_come(f"{len(new)} of {number} new engines")
            return new

    @entrance
    def resize(self, n: int) -> None:
        """Change the number of engines to `n`; returns when new ones are ready.

        The newest engines are removed, of several hosts those with most; their current work is lost.

        Raises:
            ClusterError: new ones did not start; the message has the reason.
        """
        wanted = checked_count(n)
        with self._life:
            room, members = self._running()
            more = wanted - len(members.ids())
            if more > 0:
                self._check_number(wanted, more)
            self.remove([engine.uuid for engine in surplus(self.engines, wanted)])
            self._n = wanted
            room.withdraw(max(0, len(members.ids()) + room.coming() - wanted))
            self._fill(wanted)

    def remove(self, uuids: Sequence[str]) -> None:
        """End certain engines without replacing them; returns when no view of the client has them."""
        with self._life:
            room, members = self._running()
            known = members.ids()
            if not (gone := [uuid for uuid in uuids if uuid in known]):
                return
            self._n = max(0, self._n - len(gone))
            self._listeners.explain(gone, "removed from the cluster")
            room.remove(gone)
            members.drop(gone).wait(FORGET_WITHIN)

    def replace(self, uuids: Sequence[str]) -> None:
        """End certain engines as `remove` does; returns when their replacements are ready.

        Raises:
            ClusterError: new ones did not start; the message has the reason.
        """
        with self._life:
            room, members = self._running()
            wanted, meant = len(members.ids()) + room.coming(), self._n
            self.remove(uuids)
            self._n = meant
            self._fill(wanted)

    @entrance
    def restart(self, engine: Engine | str | int | None = None) -> None:
        """Replace one engine (a record, an identity or an id), or all; their current work is lost."""
        with self._life:
            if engine is None:
                self._tear_down()
                self.start()
                return
            uuid = self._identify(engine)
            room, members = self._running()
            wanted, deadline = len(members.ids()), self._deadline()
            self.kill(uuid, "restarted")
            # the controller may strike it off before its end is known here, after which healing counts
            known = room if isinstance(room, ForkedDeployment) else None
            members.wait(
                lambda ids: uuid not in ids and not (known and known.locate(uuid)[1]),
                self._start_timeout,
            )
            self._fill(wanted, deadline)

    @entrance
    def kill(self, engine: Engine | str | int, reason: str = "killed") -> None:
        """Kill one engine at once; it is replaced if the cluster heals.  Listeners get `reason`."""
        room, _ = self._running()
        uuid = self._identify(engine)
        self._listeners.explain([uuid], reason)
        room.kill(uuid, reason)

    def interrupt(self, uuid: str) -> bool:
        """Send an engine SIGINT; return False if it is gone, or if its deployment cannot."""
        room = self._room
        return room is not None and room.interrupt(uuid)

    # ---- events of the deployment, in any thread

    def engine_died(self, uuid: str, reason: str, *, for_good: bool = True) -> None:
        """Handle the unexpected end of an engine's process, or not `for_good` of its answers."""
        self._last_end = reason
        if self._members is not None and for_good:
            self._members.drop([uuid])
        self._listeners.died(uuid, reason)

    def engine_replaced(self) -> None:
        """An engine is starting."""
        self._replaced += 1

    def broke(self, reason: str) -> None:
        """Handle a fatal error: fail waiting calls, end the rest."""
        self._broken = self._broken or reason
        room, members = self._room, self._members
        if members is not None:
            for uuid in members.ids():
                self._listeners.died(uuid, reason)
            members.strand(reason)
            members.wake()
        if room is not None:
            room.close()

    # ---- events of the client, in its thread

    def engine_joined(self, uuid: str) -> None:
        """Handle an engine registered by the controller."""
        if self._room is not None:
            self._room.registered(uuid)
        self._listeners.joined(uuid)

    def engine_left(self, uuid: str) -> None:
        """Handle an engine removed by the controller."""
        if self._room is not None:
            self._room.left(uuid)

    # ---- steps

    def _open_room(self, deadline: float) -> None:
        self._broken = ""
        kind = DIRECT if self.direct else self._engines
        self._room = room = deployment_for(kind, self._n, self._settings, self._occupancy, self._options)
        connection = room.open(self._n, max(0.1, deadline - clock.monotonic()))
        if isinstance(room, DirectDeployment):
            self._client, self._members = room.access, room.members
            return
        self._client = open_client(connection, room.directory, ANSWER_TIMEOUT)
        room.attach(self._client)
        self._members = Members(self._client, self._occupancy)
        if not self.forked:
            from nbpar.cluster.remote.deployment import HostsDeployment

            self._n = room.intended if isinstance(room, HostsDeployment) else self._n

    def _deadline(self) -> float:
        return clock.monotonic() + self._start_timeout

    def _fill(self, wanted: int, deadline: float | None = None) -> None:
        """Start a number of engines, and wait for them; those that end meanwhile are started again."""
        deadline = self._deadline() if deadline is None else deadline
        room, members = self._opened()
        enough = room.awaited(wanted)
        for _ in range(ORDERS):
            room.add(max(0, wanted - len(members.ids()) - room.coming()))
            self._await(lambda ids: len(ids) >= enough, deadline)
            if (came := len(members.ids())) >= enough:
                return
            if self._hopeless(room) or clock.monotonic() >= deadline:
                break
        raise self._did_not_come(f"{came} of {wanted} engines")

    def _await(self, enough: Callable[[dict[str, int]], bool], deadline: float) -> None:
        """Wait until there are enough engines, or no more will come."""
        room, members = self._opened()
        members.wait(
            lambda ids: enough(ids) or self._hopeless(room) or not room.coming(),
            max(0.0, deadline - clock.monotonic()),
        )

    def _hopeless(self, room: Deployment) -> bool:
        return bool(self._broken or room.problem() or self._stops)

    def _opened(self) -> tuple[Deployment, MemberList]:
        if self._room is None or self._members is None:
            raise ClusterError(STOPPED)
        return self._room, self._members

    def _did_not_come(self, what: str) -> ClusterError:
        """The error for missing engines, with the reason."""
        room, _ = self._opened()
        why = self._broken or room.problem() or (STOPPED if self._stops else "")
        if not why and not room.coming():
            why = f"one ended meanwhile ({self._last_end})" if self._last_end else "none is on its way"
        if not why:
            why = f"they did not come within {self._start_timeout:g} s"
            why += f" ({waits})" if (waits := room.waiting()) else ""
        return ClusterError(with_logs(f"{what} came up: {why}", room.logs()))

    def _tear_down(self) -> None:
        client, self._client = self._client, None
        members, self._members = self._members, None
        room, self._room = self._room, None
        close_down(members, client, room)
        self._broken = ""
