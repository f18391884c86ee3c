"""Stand-ins for the commands of batch systems, which run jobs as processes of this machine.

Run as `python batch_commands.py FOLDER COMMAND ARGUMENTS...`.  The folder has a file for each job, and
`slots`: the number of jobs that may run at the same time.  Pending jobs start when any command runs.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

COMMANDS = {
    "slurm": ("sbatch", "squeue", "scancel", "sinfo"),
    "pbs": ("qsub", "qstat", "qdel"),
    "lsf": ("bsub", "bjobs", "bkill"),
    "sge": ("qsub", "qstat", "qdel"),
}


class BatchFolder:
    """The state of a batch system."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def install(self, system):
        """Make its commands, and return the folder that belongs into PATH."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        (self.folder / "system").write_text(system)
        self.allow(100)
        for name in COMMANDS[system]:
            (programs / name).write_text(
                f'#!/bin/sh\nexec {sys.executable} -S {__file__} {self.folder} {name} "$@"\n'
            )
            (programs / name).chmod(0o755)
        return str(programs)

    def allow(self, slots):
        """Set the number of jobs that may run, and start those."""
        with self.locked():
            (self.folder / "slots").write_text(str(slots))
            self.step()

    def refuse(self, words):
        """Let the system refuse all jobs from now on."""
        (self.folder / "refusal").write_text(words)

    def limit(self, *lines):
        """Set what `sinfo` prints of partitions and their time limits."""
        (self.folder / "limits").write_text("".join(f"{line}\n" for line in lines))

    def wait_for(self, reason):
        """Let pending jobs give this reason (Slurm)."""
        (self.folder / "reason").write_text(reason)

    def speak_ipv6(self):
        """Let nodes have addresses of IPv6 only."""
        (self.folder / "ipv6").touch()

    def hang(self):
        """Let submitted jobs be there, and the command that has submitted them never return."""
        (self.folder / "hanging").touch()

    def jobs(self):
        """All jobs by number."""
        paths = self.folder.glob("job-*.json")
        return {int(path.stem[4:]): json.loads(path.read_text()) for path in sorted(paths)}

    def script(self, number):
        """The script of a job."""
        return (self.folder / f"job-{number}.sh").read_text()

    def end(self, number, state):
        """End a job as the system does: CANCELLED, TIMEOUT, ..."""
        with self.locked():
            job = self.jobs()[number]
            self.store(number, {**job, "state": state})
            if job.get("pid"):
                with suppress(ProcessLookupError):
                    os.killpg(job["pid"], signal.SIGKILL)

    def running(self):
        """Numbers of the jobs whose processes are there."""
        return [number for number, job in self.jobs().items() if alive(job)]

    # ---- inside the commands

    def locked(self):
        file = (self.folder / "lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def store(self, number, job):
        path = self.folder / f"job-{number}.json"
        path.with_suffix(".new").write_text(json.dumps(job))
        path.with_suffix(".new").replace(path)

    def step(self):
        """Notice jobs that have ended, and start others."""
        for number, job in self.jobs().items():
            if job["state"] == "RUNNING" and not alive(job):
                self.store(number, {**job, "state": "COMPLETED"})
        slots = int((self.folder / "slots").read_text())
        for number, job in self.jobs().items():
            if job["state"] == "PENDING" and len(self.running()) < slots:
                self.store(number, {**job, "state": "RUNNING", "pid": self.start(number, job)})

    def start(self, number, job):
        script, log = self.folder / f"job-{number}.sh", job["log"]
        if (self.folder / "ipv6").exists():
            meeting = Path(log).with_name("meeting")
            facts = json.loads(meeting.read_text())
            v6 = [address for address in facts["addresses"] if ":" in address]
            meeting.write_text(json.dumps({**facts, "addresses": v6}))
        line = f"cd / && setsid sh {script} </dev/null >{log} 2>&1 & echo $!"
        return int(subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout)

    def submit(self, system):
        script = sys.stdin.read()
        if (refusal := self.folder / "refusal").exists():
            sys.exit(refusal.read_text())
        number = max(self.jobs(), default=100) + 1
        (self.folder / f"job-{number}.sh").write_text(script)
        log = re.search(r"^#\S+ (?:--output=|-o )(\S+)$", script, re.MULTILINE)[1]
        name = re.search(r"^#\S+ (?:--job-name=|-N |-J )(\S+)$", script, re.MULTILINE)[1]
        self.store(number, {"state": "PENDING", "log": log, "name": name})
        self.step()
        if (self.folder / "hanging").exists():
            self.lock.close()
            signal.pause()
        form = {"pbs": "{}.server", "lsf": "Job <{}> is submitted to default queue <normal>."}
        print(form.get(system, "{}").format(number))

    def show(self, system):
        self.step()
        for number, job in self.jobs().items():
            print(FORMS[system](number, {**job, "reason": self.reason}), end="")

    @property
    def reason(self):
        path = self.folder / "reason"
        return path.read_text() if path.exists() else "Resources"

    def cancel(self, identifiers):
        named = [word.removeprefix("--name=") for word in identifiers if word.startswith("--name=")]
        numbers = [str(number) for number, job in self.jobs().items() if job["name"] in named]
        for identifier in [*numbers, *(word for word in identifiers if not word.startswith("--"))]:
            number = int(identifier.split(".")[0])
            job = self.jobs()[number]
            self.store(number, {**job, "state": "CANCELLED"})
            if alive(job):
                with suppress(ProcessLookupError):
                    os.killpg(job["pid"], signal.SIGTERM)


def alive(job):
    """Whether the process of a job is there, and no zombie."""
    try:
        return Path(f"/proc/{job['pid']}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, KeyError):
        return False


def slurm(number, job):
    reason = {"PENDING": job["reason"], "TIMEOUT": "TimeLimit"}.get(job["state"], "None")
    return f"{number}|{job['state']}|{reason}\n"


def pbs(number, job):
    letter = {"PENDING": "Q", "RUNNING": "R"}.get(job["state"], "F")
    code = {"CANCELLED": "271", "TIMEOUT": "-29"}.get(job["state"], "0")
    last = "comment = Not Running: Insufficient amount of\n\tresource: ncpus" if letter == "Q" else ""
    last = f"Exit_status = {code}" if letter == "F" else last
    return f"Job Id: {number}.server\n    Job_Name = {job['name']}\n    job_state = {letter}\n    {last}\n\n"


def lsf(number, job):
    word = {"PENDING": "PEND", "RUNNING": "RUN", "COMPLETED": "DONE"}.get(job["state"], "EXIT")
    why = {"TIMEOUT": "TERM_RUNLIMIT: job killed", "CANCELLED": "TERM_OWNER: job killed by owner"}
    pending = "Job slot limit reached" if word == "PEND" else "-"
    return f"{number}|{word}|-|{why.get(job['state'], '-')}|{pending}\n"


def sge(number, job):
    letters = {"PENDING": "qw", "RUNNING": "r"}.get(job["state"])
    return f"{number} 0.5 nbpar-1 ann {letters} 12/01/2026 01:00:00 all.q@one 1\n" if letters else ""


FORMS = {"slurm": slurm, "pbs": pbs, "lsf": lsf, "sge": sge}


def main(folder, command, *arguments):
    batch = BatchFolder(folder)
    system = (batch.folder / "system").read_text()
    with (batch.folder / "calls").open("a") as calls:
        calls.write(f"{time.time():.2f} {command} {' '.join(arguments)}\n")
    with batch.locked() as batch.lock:
        if command == COMMANDS[system][0]:
            batch.submit(system)
        elif command == COMMANDS[system][1]:
            batch.show(system)
        elif command == "sinfo":
            print((batch.folder / "limits").read_text() if (batch.folder / "limits").exists() else "")
        else:
            batch.cancel(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
