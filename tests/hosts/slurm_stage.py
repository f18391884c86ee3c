"""A real Slurm on this machine: its daemons, with this machine as several nodes.

Needs root, Linux, and Debian's slurm-wlm and munge.  Everything is in a folder of its own, with ports of its
own; a munge daemon of the system is neither needed nor disturbed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

NODES = 3

CONFIGURATION = """\
ClusterName=nbpar
SlurmctldHost={host}({address})
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
KillWait=2
OverTimeLimit=0
MpiDefault=none
PartitionName=main Nodes=node[1-{nodes}] Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=node[1-{nodes}] MaxTime=2 State=UP
"""


def slurm_missing() -> str:
    """Return what a Slurm lacks here, "" for nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "root on Linux"
    lacking = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    return f"{', '.join(lacking)} (Debian: apt-get install slurm-wlm munge)" if lacking else ""


class SlurmStage:
    """A controller and some nodes; `with` ends them, and all jobs.

    Args:
        folder: a new folder.
        address: where its daemons listen.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self._address = address
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._before: dict[str, str | None] = {}

    def __enter__(self):
        try:
            self._start_munge()
            self._write_configuration()
            self._start("slurmctld", "-D", "-f", str(self.configuration))
            for number in range(NODES):
                self._start("slurmd", "-D", "-N", f"node{number + 1}", "-f", str(self.configuration))
            self._before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
            os.environ.update(SLURM_CONF=str(self.configuration), PATH=PATH)
            self._wait_for_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            self.run("scancel", "--user=root", check=False)
            deadline = time.monotonic() + 20
            while self.jobs() and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program and return its output."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """The states of the jobs that have not ended, by identifier."""
        lines = self.run("squeue", "--noheader", "--format=%A %T", check=False).splitlines()
        return dict(line.split() for line in lines)

    # ---- steps

    @property
    def configuration(self) -> Path:
        """Its configuration file, for `SLURM_CONF`."""
        return self.folder / "slurm.conf"

    def _start_munge(self) -> None:
        user = pwd.getpwnam("munge")
        place = self.folder / "munge"
        place.mkdir()
        key = place / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for path in (place, key):
            os.chown(path, user.pw_uid, user.pw_gid)
        self.folder.chmod(0o755)
        place.chmod(0o755)
        files = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        options = [f"--{option}={place}/{name}" for option, name in files.items()]
        program = shutil.which("munged", path=PATH) or "munged"
        rights = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        self._start("setpriv", *rights, program, "--foreground", *options)
        self._wait_until((place / "socket").exists, "munged")

    def _write_configuration(self) -> None:
        with socket.socket() as first, socket.socket() as second:
            for one in (first, second):
                one.bind(("127.0.0.1", 0))
            ports = [first.getsockname()[1], second.getsockname()[1]]
        listeners = [socket.socket() for _ in range(NODES)]
        for one in listeners:
            one.bind(("127.0.0.1", 0))
        host = socket.gethostname().split(".")[0]
        lines = CONFIGURATION.format(
            host=host, address=self._address, folder=self.folder, ports=ports, nodes=NODES
        )
        for number, one in enumerate(listeners, 1):
            name, port = f"node{number}", one.getsockname()[1]
            where = f"NodeHostname={host} NodeAddr={self._address} Port={port}"
            lines += f"NodeName={name} {where} CPUs=2 RealMemory=1000\n"
            (self.folder / f"spool-{name}").mkdir()
            one.close()
        (self.folder / "state").mkdir()
        self.configuration.write_text(lines)
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")

    def _start(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=PATH) or program
        log = (self.folder / f"output-{len(self._daemons)}.log").open("wb")
        with log:
            self._daemons.append(
                subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _wait_for_nodes(self) -> None:
        def idle() -> bool:
            states = self.run(
                "sinfo", "--noheader", "--partition=main", "--Node", "--format=%T", check=False
            ).split()
            return states == ["idle"] * NODES

        self._wait_until(idle, "the nodes")

    def _wait_until(self, condition, what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in self._daemons):
                logs = "\n".join(
                    f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
                    for path in sorted(self.folder.glob("*.log"))
                )
                raise RuntimeError(f"{what} did not come up:\n{logs}")
            time.sleep(0.1)
