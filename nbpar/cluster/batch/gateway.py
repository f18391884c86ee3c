"""The process on the login node: submit jobs, watch and cancel them, and let them in when they have started.

It runs at the end of an ssh connection, or on the notebook's own machine, and ends with the process that
started it, whichever way that ended: then it cancels all jobs and removes its folder.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbpar.cluster.batch.commands import Commands, Said, run_command
from nbpar.cluster.batch.doors import Door, addresses_here
from nbpar.cluster.batch.systems import ENDED, PENDING, SYSTEMS, JobDescription, JobState
from nbpar.cluster.directory import tail
from nbpar.cluster.fork_server.protocol import Line, controller_ports
from nbpar.cluster.remote.multiplexer import FrameError, Multiplexer
from nbpar.cluster.shared_folder import make_shared_folder

FIRST_LOOK = 1.0
"""Seconds until jobs are looked at after something has happened; then twice that, and so on."""

LONGEST_PAUSE = 20.0
"""Most seconds between two looks."""

VERDICT_WITHIN = 4.0
"""Seconds in which a batch system says why a job has ended, after its connection has."""

UNSEEN_FOR = 60.0
"""Seconds for which a submitted job may be unknown to the batch system before it counts as lost."""

FINISH_WITHIN = 6.0
"""Seconds for a command that runs at the end, and for the last one; the owner waits for both and the jobs."""

END_WITHIN = 8.0
"""Seconds for jobs to end when they are told to."""

LOG_LINES = 25


@dataclass
class Job:
    """One job, from the order to its end."""

    number: int
    identifier: str = ""
    """The batch system's name for it, once it is submitted."""

    state: JobState = field(default_factory=lambda: JobState(PENDING))
    submitted: float = 0.0
    door: Door | None = None
    """Its connection, once it has started."""

    lost_at: float = 0.0
    """When its connection ended; 0 while it has not."""

    unwanted: bool = False
    """Whether it was asked to end."""


class Gateway:
    """Serves the owner at the other end of standard input and output.

    Args:
        settings: `mark`, `system`, `description`, `script`, `program`, `run_folder`, `relay`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._system = SYSTEMS[settings["system"]]
        self._description = JobDescription(
            **{**settings["description"], "extra": tuple(settings["description"]["extra"])}
        )
        self._folder = make_shared_folder(settings["run_folder"])
        self._name = f"nbpar-{os.urandom(4).hex()}"
        self._key = os.urandom(32).hex()
        self._jobs: dict[int, Job] = {}
        self._doors: list[Door] = []
        self._controller: Line = {}
        self._ports: set[int] = set()
        self._ending = False
        self._limits_known = not self._system.limits_query(self._description)
        self._held: list[Job] = []
        """Jobs that wait until the limits of their queue are known."""

        self._cancelling: set[str] = set()
        """Identifiers of jobs that are to be cancelled by a command that has not ended."""

        self._excess = ""
        """What jobs ask for in vain."""

        self._looking = False
        self._pause = FIRST_LOOK
        self._next_look = 0.0
        self._multiplexer = Multiplexer(0, 1, self, first=1)
        self._commands = Commands(self._folder)
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        self._listener = socket.create_server(("", 0), family=family, backlog=256, dualstack_ipv6=both)
        self._listener.setblocking(False)

    def serve(self) -> None:
        """Serve until the owner is gone or ends this; afterwards nothing is left here."""
        try:
            self._write("meeting", json.dumps(self._meeting()).encode())
            self._write("program", base64.b64decode(self._settings["program"]))
            facts = {"python": sys.executable, "host": platform.node(), "cpus": 1, "pid": os.getpid()}
            self._multiplexer.send_raw(f"{self._settings['mark']} ready {json.dumps(facts)}\n".encode())
            self._multiplexer.watch(self._listener, self._accept)
            self._multiplexer.watch(self._commands, self._commands.deliver)
            while not (self._ending or self._multiplexer.ended):
                self._multiplexer.step(0.5)
                self._step()
        except FrameError:
            pass
        finally:
            self._clean_up()

    # ---- what the owner says

    def line(self, text: bytes) -> None:
        """Obey a line of the owner."""
        line: Line = json.loads(text)
        if line["do"] == "controller":
            self._controller = line
            self._ports = set(controller_ports(line["connection"]))
        elif line["do"] == "submit":
            self._take_order(Job(line["job"]))
        elif line["do"] == "tell":
            self._tell_job(line["job"], line["line"])
        elif line["do"] == "cancel":
            self._cancel(line["job"])
        elif line["do"] == "end":
            self._ending = True

    def opened(self, payload: bytes) -> None:
        """Refuse a stream from there."""

    def _take_order(self, job: Job) -> None:
        """Submit a job, the first one as soon as it is known that its queue takes such jobs."""
        self._jobs[job.number] = job
        if self._limits_known:
            self._submit(job)
            return
        self._held.append(job)
        if len(self._held) == 1:
            self._commands.order(self._system.limits_query(self._description), self._take_limits)

    def _take_limits(self, said: Said) -> None:
        self._excess = self._system.excess(self._description, said.output) if said.worked else ""
        self._limits_known = True
        held, self._held = self._held, []
        for job in held:
            if job.number in self._jobs:
                self._submit(job)

    def _submit(self, job: Job) -> None:
        if self._excess:
            self._refuse(job, self._excess)
            return
        log = str(self._log_of(job))
        head = self._system.head(self._description, self._name, log)
        variables = f"NBPAR_JOB_FOLDER={shlex.quote(str(self._folder))}; NBPAR_JOB_NUMBER={job.number}; "
        script = f"{head}\n{variables}export NBPAR_JOB_FOLDER NBPAR_JOB_NUMBER; {self._settings['script']}"

        def submitted(said: Said) -> None:
            identifier = self._system.identifier(said.output) if said.worked else ""
            if not identifier:
                self._refuse(job, said.words)
                return
            job.identifier, job.submitted = identifier, time.monotonic()
            self._say({"it": "submitted", "job": job.number, "id": identifier})
            if job.unwanted:
                self._cancel(job.number)
            self._look_soon()

        self._commands.order([*self._system.submit], submitted, given=script)

    def _cancel(self, number: int) -> None:
        """End a job: by its connection, if it has one, and by the batch system."""
        job = self._jobs.get(number)
        if job is None:
            return
        job.unwanted = True
        if job.door is not None:
            job.door.say({"do": "end"})
        if job.identifier:
            self._order_cancel(job.identifier)

    def _order_cancel(self, identifier: str) -> None:
        self._cancelling.add(identifier)

        def cancelled(_: Said) -> None:
            self._cancelling.discard(identifier)
            self._look_soon()

        self._commands.order([*self._system.cancel, identifier], cancelled)

    def _refuse(self, job: Job, reason: str) -> None:
        """Report a job that will never run."""
        del self._jobs[job.number]
        self._say({"it": "refused", "job": job.number, "error": reason})

    def _tell_job(self, number: int, line: Line) -> None:
        job = self._jobs.get(number)
        if job is not None and job.door is not None:
            job.door.say(line)

    # ---- jobs that come

    def _accept(self) -> None:
        with suppress(OSError):
            link, _ = self._listener.accept()
            door = Door(link, self._key, self._ports, self._multiplexer if self._settings["relay"] else None)
            door.on_ready = self._let_in
            door.on_line = self._hear_job
            self._doors.append(door)
            self._multiplexer.watch(door, door.step)

    def _let_in(self, door: Door, facts: dict[str, Any]) -> None:
        """A job has started and proved that it is one."""
        job = self._jobs.get(door.job)
        if job is None or job.door is not None or job.lost_at or job.unwanted:  # a second start is of no use
            door.say({"do": "end"})
            return
        job.door = door
        door.say({**self._controller, "direct": not self._settings["relay"]})
        self._say({"it": "node", "job": job.number, "facts": facts})

    def _hear_job(self, door: Door, line: Line) -> None:
        self._say({"it": "far", "job": door.job, "line": line})

    # ---- watching

    def _step(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for door in list(self._doors):
            door.step()
            if door.ended or door.overdue(now):
                self._close(door)
        if self._jobs and not self._looking and now >= self._next_look:
            self._look()
        for job in list(self._jobs.values()):
            self._judge(job, now)

    def _close(self, door: Door) -> None:
        self._doors.remove(door)
        self._multiplexer.unwatch(door)
        door.close()
        job = next((job for job in self._jobs.values() if job.door is door), None)
        if job is not None:
            job.door, job.lost_at = None, time.monotonic()
            self._look_soon()

    def _look_soon(self) -> None:
        self._pause = FIRST_LOOK
        self._next_look = min(self._next_look, time.monotonic() + 0.2)

    def _look(self) -> None:
        """Ask the batch system for the jobs that do not answer for themselves."""
        jobs = [job for job in self._jobs.values() if job.identifier and job.door is None]
        if not jobs:
            self._next_look = time.monotonic() + self._pause
            return
        self._looking = True
        query = self._system.query(self._name, [job.identifier for job in jobs])
        self._commands.order(query, self._take_states)

    def _take_states(self, said: Said) -> None:
        self._looking = False
        now = time.monotonic()
        self._next_look, self._pause = now + self._pause, min(LONGEST_PAUSE, 2 * self._pause)
        states = self._system.states(said.output)
        hopeless: list[tuple[Job, JobState]] = []
        for job in self._jobs.values():
            found = states.get(job.identifier)
            if found is None and said.worked and job.identifier and _was_seen(job, now):
                found = JobState(ENDED, "it has ended", final=True)
            if found is not None and found.hopeless:
                hopeless.append((job, found))
            elif found is not None and found != job.state:
                job.state = found
                if found.phase != ENDED:
                    self._say(
                        {"it": "state", "job": job.number, "phase": found.phase, "reason": found.reason}
                    )
        for job, state in hopeless:
            self._order_cancel(job.identifier)
            self._refuse(job, f"job {job.identifier} would never start ({state.reason}): {state.hopeless}")
        if any(job.lost_at for job in self._jobs.values()):
            self._look_soon()

    def _judge(self, job: Job, now: float) -> None:
        """Report a job that has ended, with the reason if it is known in time."""
        if job.door is not None or not job.identifier:
            return
        state = job.state
        if state.phase == ENDED and state.final:
            self._report_end(job, state)
        elif job.lost_at and now - job.lost_at > VERDICT_WITHIN:
            reason = state.reason if state.phase == ENDED else "its connection to the login node ended"
            self._report_end(job, JobState(ENDED, reason))

    def _report_end(self, job: Job, state: JobState) -> None:
        del self._jobs[job.number]
        if not state.final:  # it may still run, of no use
            self._order_cancel(job.identifier)
        self._say(
            {
                "it": "over",
                "job": job.number,
                "reason": state.reason,
                "cancelled": state.cancelled,
                "log": tail(self._log_of(job), LOG_LINES),
            }
        )

    # ---- the end

    def _clean_up(self) -> None:
        """Cancel all jobs, wait for those that run, and remove the folder."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._listener.close()
        for door in self._doors:
            door.say({"do": "end"})
        self._commands.finish(FINISH_WITHIN)
        ids = [job.identifier for job in self._jobs.values() if job.identifier]
        ids += self._cancelling.difference(ids)  # what was ordered has not begun
        command = self._system.cancel_all(self._name, ids) if self._jobs or ids else []
        if command:
            run_command(command, self._folder, patience=FINISH_WITHIN)
        deadline = time.monotonic() + END_WITHIN
        while any(not door.ended for door in self._doors) and time.monotonic() < deadline:
            for door in self._doors:
                door.step()
            time.sleep(0.05)
        for door in self._doors:
            door.close()
        while ids and time.monotonic() < deadline:  # their output is still written to the folder
            ids = self._unfinished(ids)
            time.sleep(0.2 if ids else 0.0)
        for _ in range(20):  # a network file system keeps what another host has open
            shutil.rmtree(self._folder, ignore_errors=True)
            if not self._folder.exists():
                break
            time.sleep(0.1)

    def _unfinished(self, ids: list[str]) -> list[str]:
        """Those of the jobs that the batch system still knows as unfinished."""
        states = self._system.states(
            run_command(self._system.query(self._name, ids), self._folder, patience=FINISH_WITHIN).output
        )
        found = ((identifier, states.get(identifier)) for identifier in ids)
        return [identifier for identifier, state in found if state is not None and not state.final]

    # ---- small things

    def _meeting(self) -> dict[str, Any]:
        port = self._listener.getsockname()[1]
        return {"addresses": addresses_here(), "port": port, "key": self._key}

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.touch(0o600)
        path.write_bytes(content)

    def _log_of(self, job: Job) -> Path:
        return self._folder / f"job-{job.number}.log"

    def _say(self, line: Line) -> None:
        self._multiplexer.send_line(json.dumps(line).encode())


def _was_seen(job: Job, now: float) -> bool:
    """Whether a job that the batch system does not list has been there: new ones may be listed late."""
    return bool(job.lost_at) or job.state.phase != PENDING or now - job.submitted > UNSEEN_FOR


def main(settings: dict[str, Any]) -> None:
    """Serve on standard input and output."""
    for number in (signal.SIGINT, signal.SIGHUP):  # the end of standard input is what counts
        signal.signal(number, signal.SIG_IGN)
    try:
        gateway = Gateway(settings)
    except OSError as error:
        sys.exit(f"no folder for jobs can be made: {error}; name one that the nodes share with run_folder=")
    gateway.serve()
    os._exit(0)
