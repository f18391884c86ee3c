"""A controller here, and engines that are jobs of a batch system, one engine in each job."""

from __future__ import annotations

import base64
import signal
import time
import uuid as identities
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.cluster.base import DeploymentListener, Lifetime, Settings
from nbpar.cluster.batch.jobs import Jobs
from nbpar.cluster.client import prepare_client
from nbpar.cluster.fork_server.preload import LAUNCHED_SETTINGS
from nbpar.cluster.fork_server.protocol import Line
from nbpar.cluster.fork_server.server import ForkServer
from nbpar.cluster.forked import EngineProcess, ForkedDeployment
from nbpar.cluster.remote import SILENCE
from nbpar.cluster.remote.deployment import HostConnection, Questions, fork_line, settings_of_far_side
from nbpar.cluster.remote.hosts import Host, Hosts
from nbpar.cluster.remote.login import found_python, no_python, script_of_job, search_like_here, versions_here
from nbpar.cluster.remote.near import far_program
from nbpar.cluster.remote.prompts import can_ask
from nbpar.errors import ClusterError
from nbpar.host.cpus import thread_limits
from nbpar.host.exit_status import death_in

END_WITHIN = 25.0
"""Seconds for the process on the login node to cancel the jobs and end."""

LISTED = 3
"""Maximal number of jobs of a kind that are named."""


@dataclass
class EngineJob:
    """A job, and its engine."""

    number: int
    process: EngineProcess
    asked: float = field(default_factory=time.monotonic)
    """When it was asked for."""

    identifier: str = ""
    """The batch system's name for it."""

    phase: str = ""
    """"pending", "running", or "" while that is not known."""

    reason: str = ""
    """Why it is pending."""

    host: str = ""
    """The node that it runs on, once it takes part."""

    unfit: bool = False
    """Whether its fork server cannot import what engines need."""

    vacant: bool = False
    """Whether its engine has ended and it waits for another."""

    began: float = 0.0
    """When it began to run, at the latest."""

    @property
    def kind(self) -> str:
        """Its state in a word or two."""
        return self.reason or self.phase or "being submitted"

    def words(self, now: float) -> str:
        """What it waits for."""
        name = f"job {self.identifier}" if self.identifier else "a job"
        waited = duration(now - self.asked)
        if not self.identifier:
            return f"{name} is being submitted, for {waited}"
        if self.host:
            return f"the engine of {name} is starting"
        if self.phase == "running":
            return f"{name} runs, but has not answered yet, for {waited}"
        reason = f" ({self.reason})" if self.reason else ""
        return f"{name} is pending{reason}, for {waited}"


class LoginNode(HostConnection):
    """The connection to the gateway on the login node, which may be this machine."""

    main = "nbpar.cluster.batch.gateway"
    end_within = END_WITHIN - 3

    def __init__(self, template: ForkServer, jobs: Jobs, settings: Settings) -> None:
        where = Host(jobs.host or "this machine", 1, jobs.python if jobs.host else "")
        super().__init__(template, where, Hosts((where,), jobs.command if jobs.host else ()), settings)
        self.on_line: Callable[[Line], None] = lambda _: None
        self._jobs = jobs
        self.mark = f"nbpar-{identities.uuid4().hex[:16]}"
        """Begins what the search for Python prints in a job."""

        self.search = search_like_here(jobs.python)

    def far_settings(self) -> dict[str, Any]:
        node = {**settings_of_far_side(self._settings, SILENCE), "mark": self.mark}
        return {
            "silence": SILENCE,
            **self._jobs.facts(),
            "script": script_of_job(self.search, self.mark),
            "program": base64.b64encode(far_program(node, "nbpar.cluster.batch.node")).decode("ascii"),
            "run_folder": self._jobs.run_folder,
            "relay": self._jobs.host is not None,
        }

    def hear(self, line: Line) -> None:
        self.on_line(line)


class JobsDeployment(ForkedDeployment):
    """A controller that is a child of the local fork server, and engines in jobs.

    Args:
        template: the local fork server.
        settings: settings of the engines.
        occupant: is notified of failures.
        jobs: what they are.
    """

    patience = 2.0

    def __init__(
        self, template: ForkServer, settings: Settings, occupant: DeploymentListener, jobs: Jobs
    ) -> None:
        super().__init__(template, settings, occupant)
        address = "127.0.0.1" if jobs.host is not None else "*"
        self.controller_settings = (*LAUNCHED_SETTINGS, f"--ip={address}")
        self._request = jobs
        self._number = 0
        self._jobs: dict[int, EngineJob] = {}
        self._log = ""
        """The end of the log of the job or engine that ended last."""

        self._cancelled = ""
        """Which job was cancelled last, by somebody else."""

        self._lapsed = False
        """Whether jobs have ended by themselves that no other has replaced."""

        self._replacing = False
        """Whether the engine that has just ended is replaced."""

        self._questions = Questions()
        self._login = LoginNode(template, jobs, settings)
        self._login.on_line = self._hear
        self._login.on_loss = self._lost
        self._questions.expect_from(self._login)

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        self._planned = engines
        self._order_controller()
        self._login.connect(asks=self._request.host is not None and can_ask())
        prepare_client()
        self._controller.settled.wait(timeout)
        if self._controller.connection is None or self._problem:
            raise ClusterError(self._why_no_controller(timeout))
        self._questions.settle([self._login], deadline)
        if not self._login.usable:
            reason = self._login.problem or f"it did not answer within {timeout:.0f} s"
            raise ClusterError(
                f"cannot submit {self._request.title} jobs on {self._login.host.name}: {reason}"
            )
        connection = self._controller.connection
        self._login.tell({"do": "controller", "connection": connection["engine"]})
        self.add(engines)
        return {**connection["client"], "interface": "tcp://127.0.0.1"}

    def awaited(self, engines: int) -> int:
        """The first engine is enough: the others take part when their jobs start."""
        return min(engines, 1)

    def locate(self, uuid: str) -> tuple[str, int | None]:
        job = self._job_of(uuid)
        return (job.host, job.process.pid or None) if job is not None else ("", None)

    def problem(self) -> str:
        with self._lock:
            gone = self._cancelled if not self._jobs else ""
        return super().problem() or self._login.problem or gone

    def add(self, count: int) -> None:
        self._cancelled, self._lapsed = "", False
        super().add(count)

    def lapsed(self) -> bool:
        return self._lapsed

    def lifetime(self, uuid: str) -> Lifetime | None:
        job, span = self._job_of(uuid), self._request.description.seconds
        return Lifetime(job.began + span, span) if job is not None and job.began and span else None

    def waiting(self) -> str:
        """What missing engines wait for, "" if there is nothing to say."""
        now = time.monotonic()
        with self._lock:
            jobs = [job for job in self._jobs.values() if not (job.process.known or job.process.expected)]
        if not jobs:
            return ""
        words = min(jobs, key=lambda job: job.asked).words(now)
        kinds = Counter(job.kind for job in jobs)
        if len(jobs) == 1:
            return words
        listed = ", ".join(
            f"{count} {kind}{listed_ids([job.identifier for job in jobs if job.kind == kind])}"
            for kind, count in kinds.most_common(3)
        )
        return f"{len(jobs)} jobs are awaited ({listed}); {words}"

    def logs(self) -> str:
        """The ends of the logs, here and there."""
        there = [f"--- a job\n{self._log}"] if self._log else []
        return "\n".join(filter(None, [super().logs(), *there]))

    def close(self) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
        if first and self._login.started:
            self._login.tell({"do": "end"})
            if self._template.alive and not self._template.in_its_thread:
                self._login.over.wait(END_WITHIN)
        super().close()

    def engine_ended(self, process: EngineProcess, reason: str) -> None:
        """Handle the end of an engine; its job ends too, unless another engine takes its place there."""
        job = self._job_of(process.key)
        if job is not None:
            job.vacant = not process.expected
        self._replacing = False
        self._template.tell(self._controller_key, {"gone": process.key})
        super().engine_ended(process, reason)
        if job is not None and not self._replacing:
            job.vacant = False
            self._drop(job)

    # ---- the login node

    def _lost(self, login: HostConnection) -> None:
        """Handle the loss of the login node, which ends all jobs."""
        self._questions.look_again()
        if login.settled.is_set() and login.connected and not self._closed:
            with self._lock:
                self._problem = self._problem or (
                    f"the process that watches the {self._request.title} jobs ended: {login.problem}"
                )
            self._occupant.broke(self._problem)

    def _hear(self, line: Line) -> None:
        with self._lock:
            job = self._jobs.get(line["job"])
        if job is None:
            return
        if line["it"] == "submitted":
            job.identifier = line["id"]
        elif line["it"] == "state":
            job.phase, job.reason = line["phase"], line["reason"]
        elif line["it"] == "refused":
            self._refused(job, line["error"])
        elif line["it"] == "node":
            job.host, job.began = line["facts"]["host"], time.monotonic() - line["facts"]["age"]
        elif line["it"] == "far":
            self._hear_node(job, line["line"])
        elif line["it"] == "over":
            self._over(job, line)

    def _refused(self, job: EngineJob, error: str) -> None:
        """The batch system does not take jobs like this; asking again would not help."""
        with self._lock:
            self._stuck = f"{self._request.title} refuses the job: {error}"
            del self._jobs[job.number]
            job.process.expected = True  # none takes its place
        super().engine_ended(job.process, self._stuck)

    def _hear_node(self, job: EngineJob, line: Line) -> None:
        """Handle a line of a job's far side."""
        process, mine = job.process, line.get("key", "") == job.process.key
        if line["it"] == "unfit":
            job.unfit = True
            with self._lock:
                self._stuck = line["error"]
            self._drop(job)
        elif line["it"] == "warm" and not job.unfit:
            self._fork_in(job)
        elif line["it"] == "broken":
            self._log = line["log"] or self._log
        elif mine and line["it"] == "forked":
            process.forked(line["pid"])
        elif mine and line["it"] in ("failed", "ended"):
            self._log = line.get("log") or self._log
            if line["it"] == "failed":
                process.failed(line["error"])
            else:
                process.ended(death_in(line))

    def _over(self, job: EngineJob, line: Line) -> None:
        """A job has ended, and its engine with it."""
        with self._lock:
            self._jobs.pop(job.number, None)
        reason = f"job {job.identifier}: {line['reason']}"
        log = line["log"]
        if not job.host and (unfit := self._no_python(log)):
            with self._lock:
                self._stuck = f"job {job.identifier}: {unfit}"
        elif not job.host:
            self._log = log or self._log
        if line["cancelled"]:  # somebody wants it so: no other takes its place before the next run
            self._cancelled, job.process.cut_off = reason, True
        elif job.process.known and not job.process.expected:  # another is asked for when there is work
            self._lapsed, job.process.cut_off = self._settings.heal, True
        if self._engines.get(job.process.key) is job.process:
            self.engine_ended(job.process, reason)

    def _delay_of_replacement(self, process: EngineProcess, reason: str) -> float | None:
        delay = None if process.cut_off else super()._delay_of_replacement(process, reason)
        self._replacing = delay is not None
        return delay

    def _no_python(self, log: str) -> str:
        """What the search for a Python says in a job's log if it has found none; "" otherwise."""
        marked = [line.partition(self._login.mark)[2].strip() for line in log.splitlines()]
        if "none" not in marked:
            return ""
        found = [found_python(said.removeprefix("found ")) for said in marked if said.startswith("found ")]
        return no_python(self._login.search, found, "ssh NODE", versions_here())

    # ---- engines

    def _order_engine(self) -> EngineProcess:
        if self._login.problem:
            raise ClusterError(self._login.problem)
        process = EngineProcess(self, identities.uuid4().hex)
        with self._lock:
            self._seat(process)
            vacant = next((job for job in self._jobs.values() if job.vacant), None)
            if vacant is not None:
                vacant.process, vacant.vacant = process, False
            else:
                self._number += 1
                number = self._number
                self._jobs[number] = EngineJob(number, process)
        if vacant is not None:
            self._fork_in(vacant)
        else:
            self._login.tell({"do": "submit", "job": number})
        return process

    def _fork_in(self, job: EngineJob) -> None:
        """Order the engine of a job that has started."""
        variables = dict(self._settings_of(job.process).environment)
        limits = thread_limits(1, variables, self._request.description.cpus)
        settings = Settings(
            environment=tuple({**limits, **variables}.items()),
            folder=self._settings.folder,
            nice=self._settings.nice,
        )
        line = fork_line(job.process.key, settings, 1)
        self._login.tell({"do": "tell", "job": job.number, "line": line})

    def _drop(self, job: EngineJob) -> None:
        """End a job that is no longer needed."""
        self._login.tell({"do": "cancel", "job": job.number})

    def _job_of(self, key: str) -> EngineJob | None:
        with self._lock:
            return next((job for job in self._jobs.values() if job.process.key == key), None)

    def _signal(self, key: str, number: int) -> None:
        job = self._job_of(key)
        if job is None:
            return
        if job.host:
            line = {"do": "signal", "key": key, "number": int(number)}
            self._login.tell({"do": "tell", "job": job.number, "line": line})
        elif number in (signal.SIGKILL, signal.SIGTERM):
            self._drop(job)

    def _exists(self, process: EngineProcess) -> bool:
        """Whether its job is there; called with the lock held."""
        return any(job.process is process for job in list(self._jobs.values()))


def listed_ids(identifiers: Sequence[str]) -> str:
    """Identifiers of jobs after a colon, of many the first ones: ": 4711, 4712 and 50 more"."""
    known = list(filter(None, identifiers))
    if not known:
        return ""
    if len(known) <= LISTED:
        return f": {', '.join(known)}"
    return f": {', '.join(known[: LISTED - 1])} and {len(known) - LISTED + 1} more"


def duration(seconds: float) -> str:
    """Seconds as words: "40 s", "3 min", "2 h 5 min"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
