"""The words of each batch system: directives of a job's script, commands, and what these print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbpar.host.exit_status import OVER_LIMIT

PENDING, RUNNING, ENDED = "pending", "running", "ended"


@dataclass(frozen=True, slots=True)
class JobDescription:
    """What a job asks for."""

    seconds: int = 0
    """Its time limit; 0: the batch system's."""

    queue: str = ""
    """Partition or queue; "" for the default one."""

    megabytes: int = 0
    """Its memory; 0: the batch system's default."""

    gpus: str = ""
    """Number of GPUs, perhaps after their type and a colon."""

    cpus: int = 1
    """Number of CPUs."""

    account: str = ""
    """Account or project that is charged."""

    extra: tuple[str, ...] = ()
    """Further options of the submitting command."""

    @property
    def clock(self) -> str:
        """The time limit as hours, minutes and seconds."""
        return clock(self.seconds)


@dataclass(frozen=True, slots=True)
class JobState:
    """What the batch system says of a job."""

    phase: str
    """Whether it is pending, running or ended."""

    reason: str = ""
    """Why it is pending or has ended, in words: "Resources", "it was cancelled"."""

    final: bool = False
    """Whether the reason is the last word on a job that has ended."""

    cancelled: bool = False
    """Whether it was cancelled on purpose."""

    hopeless: str = ""
    """Why a pending job will never start, if that is known."""


_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d{2})")


def clock(seconds: int) -> str:
    """Seconds as hours, minutes and seconds."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def seconds_of(text: str) -> int | None:
    """Seconds of a time limit as users and `sinfo` write it, `[[days-]hours:]minutes:seconds`; else None."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


class BatchSystem:
    """The common part: every system has a command to submit, to look, and to cancel."""

    title = ""
    """Its name in messages."""

    submit: tuple[str, ...] = ()
    """The command that reads a script from its standard input and prints the job's identifier."""

    cancel: tuple[str, ...] = ()
    """The command that cancels the jobs whose identifiers follow."""

    mark = ""
    """Begins a line of options in a script."""

    pattern = re.compile(r"\d+")
    """Finds the identifier in what the submitting command prints."""

    def options(self, job: JobDescription, name: str, log: str) -> Iterator[str]:
        """The options of a job of that name, with its output in the file `log`."""
        raise NotImplementedError

    def query(self, name: str, ids: Sequence[str]) -> list[str]:
        """The command that shows jobs of that name, or with these identifiers."""
        raise NotImplementedError

    def states(self, output: str) -> dict[str, JobState]:
        """The states of jobs, by identifier, from what that command prints."""
        raise NotImplementedError

    def limits_query(self, job: JobDescription) -> list[str]:  # noqa: ARG002 (most do not tell)
        """The command that shows the limits of a job's queue; empty if there is none."""
        return []

    def excess(self, job: JobDescription, output: str) -> str:  # noqa: ARG002 (likewise)
        """What the job asks for in vain, from what that command prints; "" for nothing."""
        return ""

    def cancel_all(self, name: str, ids: Sequence[str]) -> list[str]:  # noqa: ARG002 (a command for identifiers)
        """The command that cancels the jobs of that name; empty if there are none."""
        return [*self.cancel, *ids] if ids else []

    def head(self, job: JobDescription, name: str, log: str) -> str:
        """The first lines of a job's script."""
        lines = [*self.options(job, name, log), *job.extra]
        return "\n".join(["#!/bin/sh", *(f"{self.mark} {line}" for line in lines)]) + "\n"

    def identifier(self, output: str) -> str:
        """The identifier of a submitted job, "" if the output has none."""
        found = self.pattern.search(output)
        return found.group() if found else ""


SLURM_ENDS = {
    "CANCELLED": "it was cancelled",
    "COMPLETED": "it has ended",
    "DEADLINE": "its deadline has passed",
    "FAILED": "it failed",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "OUT_OF_MEMORY": OVER_LIMIT,
    "PREEMPTED": "it was preempted",
    "REVOKED": "it was revoked",
    "TIMEOUT": "it reached its time limit",
}
"""States of ended jobs, and what they mean."""

SLURM_WAITS = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
"""States of jobs that have not started."""


SLURM_NEVER = {
    "AssocMaxCpuPerJobLimit": "it asks for more CPUs than the account's jobs may have",
    "AssocMaxMemPerJob": "it asks for more memory than the account's jobs may have",
    "AssocMaxWallDurationPerJobLimit": "its time limit is longer than the account's jobs may have",
    "BadConstraints": "no node has what it asks for",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its quality of service is not valid",
    "PartitionNodeLimit": "it asks for more than the partition's nodes have",
    "PartitionTimeLimit": "its time limit is longer than the partition's",
    "QOSMaxCpuPerJobLimit": "it asks for more CPUs than its quality of service allows a job",
    "QOSMaxMemoryPerJob": "it asks for more memory than its quality of service allows a job",
    "QOSMaxWallDurationPerJobLimit": "its time limit is longer than its quality of service allows",
}
"""Reasons of pending jobs that will never start as they are."""


class Slurm(BatchSystem):
    """Slurm, from 16.05."""

    title = "Slurm"
    submit = ("sbatch", "--parsable")
    cancel = ("scancel",)
    mark = "#SBATCH"

    def options(self, job: JobDescription, name: str, log: str) -> Iterator[str]:
        yield f"--job-name={name}"
        yield f"--output={log}"
        yield "--nodes=1"
        yield "--ntasks=1"
        yield f"--cpus-per-task={job.cpus}"
        yield "--no-requeue"  # a lost job is asked for again, and not by two
        if job.seconds:
            yield f"--time={job.clock}"
        if job.queue:
            yield f"--partition={job.queue}"
        if job.megabytes:
            yield f"--mem={job.megabytes}M"
        if job.gpus:
            yield f"--gres=gpu:{job.gpus}"
        if job.account:
            yield f"--account={job.account}"

    def query(self, name: str, ids: Sequence[str]) -> list[str]:  # noqa: ARG002 (the name finds them all)
        return ["squeue", "--noheader", "--states=all", f"--name={name}", "--format=%A|%T|%r"]

    def states(self, output: str) -> dict[str, JobState]:
        return dict(filter(None, map(self._state, output.splitlines())))

    def limits_query(self, job: JobDescription) -> list[str]:
        if not job.seconds:
            return []
        return ["sinfo", "--noheader", "--format=%P|%l", *([f"--partition={job.queue}"] if job.queue else [])]

    def excess(self, job: JobDescription, output: str) -> str:
        lines = [line.strip().partition("|") for line in output.splitlines()]
        rows = [(name, limit) for name, _, limit in lines if limit and (job.queue or name.endswith("*"))]
        limits = [seconds for _, limit in rows if (seconds := seconds_of(limit)) is not None]
        if not rows or len(limits) < len(rows):  # one is unlimited, or says something else
            return ""
        if job.seconds <= max(limits):
            return ""
        names = ", ".join(dict.fromkeys(name.rstrip("*") for name, _ in rows))
        return (
            f"time= asks for {job.clock}, and the longest time limit in partition {names} is "
            f"{clock(max(limits))}; ask for less, or name another partition="
        )

    def cancel_all(self, name: str, ids: Sequence[str]) -> list[str]:
        """Also those whose identifiers the submitting command has not printed yet."""
        return [*self.cancel, f"--name={name}", *ids]

    def _state(self, line: str) -> tuple[str, JobState] | None:
        identifier, word, reason = (*(part.strip() for part in line.split("|", 2)), "", "")[:3]
        if not identifier:
            return None
        if word in SLURM_WAITS:
            never = SLURM_NEVER.get(reason, "")
            return identifier, JobState(PENDING, "" if reason == "None" else reason, hopeless=never)
        if word in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"):
            return identifier, JobState(RUNNING)
        if word == "COMPLETING":  # its reason may be known before its state
            words = SLURM_ENDS["TIMEOUT"] if reason == "TimeLimit" else "it is ending"
            return identifier, JobState(ENDED, words, final=reason == "TimeLimit")
        ended = SLURM_ENDS.get(word, f"its state is {word}")
        note = f" ({reason})" if word == "FAILED" and reason not in ("", "None") else ""
        return identifier, JobState(ENDED, ended + note, final=True, cancelled=word == "CANCELLED")


class Pbs(BatchSystem):
    """OpenPBS and PBS Professional."""

    title = "PBS"
    submit = ("qsub",)
    cancel = ("qdel",)
    mark = "#PBS"
    pattern = re.compile(r"\d+[\w.\[\]-]*")

    def options(self, job: JobDescription, name: str, log: str) -> Iterator[str]:
        chunk = [f"ncpus={job.cpus}"]
        if job.megabytes:
            chunk.append(f"mem={job.megabytes}mb")
        if job.gpus:
            kind, _, number = job.gpus.rpartition(":")
            chunk += [f"ngpus={number}", *([f"gpu_model={kind}"] if kind else [])]
        yield f"-N {name}"
        yield "-j oe"
        yield f"-o {log}"
        yield "-r n"
        yield f"-l select=1:{':'.join(chunk)}"
        if job.seconds:
            yield f"-l walltime={job.clock}"
        if job.queue:
            yield f"-q {job.queue}"
        if job.account:
            yield f"-A {job.account}"

    def query(self, name: str, ids: Sequence[str]) -> list[str]:  # noqa: ARG002 (a command for identifiers)
        return ["qstat", "-f", *ids]

    def states(self, output: str) -> dict[str, JobState]:
        found = {}
        for block in re.split(r"^Job Id: *", output, flags=re.MULTILINE)[1:]:
            identifier = block.split(None, 1)[0]
            facts = dict(re.findall(r"^\s+([\w.]+) = (.*(?:\n\t.*)*)", block, flags=re.MULTILINE))
            found[identifier] = self._state({name: text.replace("\n\t", "") for name, text in facts.items()})
        return found

    def _state(self, facts: dict[str, str]) -> JobState:
        letter = facts.get("job_state", "")
        if letter in ("Q", "H", "W", "T", "M"):
            return JobState(PENDING, facts.get("comment", "held" if letter == "H" else ""))
        if letter in ("R", "S", "U", "B"):
            return JobState(RUNNING)
        code = facts.get("Exit_status", "")
        words = {"-29": "it reached its time limit", "271": "it was cancelled"}.get(
            code, f"it failed with exit code {code}" if code not in ("", "0") else "it has ended"
        )
        return JobState(ENDED, words, final=letter in ("F", "C", "X"), cancelled=code == "271")


class Lsf(BatchSystem):
    """IBM's LSF."""

    title = "LSF"
    submit = ("bsub",)
    cancel = ("bkill",)
    mark = "#BSUB"
    pattern = re.compile(r"(?<=Job <)\d+")

    def options(self, job: JobDescription, name: str, log: str) -> Iterator[str]:
        yield f"-J {name}"
        yield f"-o {log}"
        yield f"-n {job.cpus}"
        yield '-R "span[hosts=1]"'
        yield "-rn"
        if job.seconds:  # whole minutes, of which there is at least one
            minutes = -(-job.seconds // 60)
            yield f"-W {minutes // 60}:{minutes % 60:02}"
        if job.queue:
            yield f"-q {job.queue}"
        if job.megabytes:
            yield f"-M {job.megabytes}MB"
            yield f'-R "rusage[mem={job.megabytes}MB]"'
        if job.gpus:
            kind, _, number = job.gpus.rpartition(":")
            yield f'-gpu "num={number}{f":gmodel={kind}" if kind else ""}"'
        if job.account:
            yield f"-P {job.account}"

    def query(self, name: str, ids: Sequence[str]) -> list[str]:  # noqa: ARG002 (a command for identifiers)
        form = "jobid stat exit_code exit_reason pend_reason delimiter='|'"
        return ["bjobs", "-a", "-noheader", "-o", form, *ids]

    def states(self, output: str) -> dict[str, JobState]:
        rows = (line.split("|") for line in output.splitlines())
        return {row[0].strip(): self._state(*map(str.strip, row[1:5])) for row in rows if len(row) >= 5}

    def _state(self, word: str, code: str, why_ended: str, why_pending: str) -> JobState:
        if word in ("PEND", "PSUSP", "WAIT", "PROV"):
            return JobState(PENDING, "" if why_pending == "-" else why_pending)
        if word in ("RUN", "USUSP", "SSUSP"):
            return JobState(RUNNING)
        if word == "DONE":
            return JobState(ENDED, "it has ended", final=True)
        if "RUNLIMIT" in why_ended:
            return JobState(ENDED, "it reached its time limit", final=True)
        if "owner" in why_ended or "OWNER" in why_ended or "ADMIN" in why_ended:
            return JobState(ENDED, "it was cancelled", final=True, cancelled=True)
        details = ", ".join(
            part
            for part in (f"exit code {code}" if code not in ("", "-") else "", why_ended.strip("- "))
            if part
        )
        return JobState(ENDED, f"it failed ({details})" if details else "it failed", final=True)


class Sge(BatchSystem):
    """Grid Engine: Sun's, Univa's, Altair's, Son of Grid Engine."""

    title = "SGE"
    submit = ("qsub", "-terse")
    cancel = ("qdel",)
    mark = "#$"

    def options(self, job: JobDescription, name: str, log: str) -> Iterator[str]:
        yield f"-N {name}"
        yield "-S /bin/sh"
        yield "-j y"
        yield f"-o {log}"
        yield "-r n"
        if job.seconds:
            yield f"-l h_rt={job.clock}"
        if job.queue:
            yield f"-q {job.queue}"
        if job.megabytes:
            yield f"-l h_vmem={job.megabytes}M"
        if job.gpus:
            yield f"-l gpu={job.gpus.rpartition(':')[2]}"
        if job.cpus > 1:
            yield f"-pe smp {job.cpus}"
        if job.account:
            yield f"-A {job.account}"

    def query(self, name: str, ids: Sequence[str]) -> list[str]:  # noqa: ARG002 (a table of all the user's)
        return ["qstat"]

    def states(self, output: str) -> dict[str, JobState]:
        rows = (line.split() for line in output.splitlines())
        return {row[0]: self._state(row[4]) for row in rows if len(row) > 4 and row[0].isdigit()}

    def _state(self, letters: str) -> JobState:
        if "E" in letters:
            return JobState(ENDED, f"its state is {letters}, an error", final=True)
        if "d" in letters:
            return JobState(ENDED, "it was cancelled", final=True, cancelled=True)
        if "w" in letters:
            return JobState(PENDING, "held" if "h" in letters else "")
        return JobState(RUNNING)


SYSTEMS: dict[str, BatchSystem] = {"slurm": Slurm(), "pbs": Pbs(), "lsf": Lsf(), "sge": Sge()}
"""All batch systems by name."""
