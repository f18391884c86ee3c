"""Other hosts on this machine: network namespaces with processes, names, homes and an sshd of their own.

Needs root, iproute2, util-linux and OpenSSH's server and client.  Every host has its own /tmp, /dev/shm and
home, and sees the rest of this machine's files.  All addresses are on a bridge that belongs to the stage.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = ("ip", "unshare", "ssh", "ssh-keygen", "sshd")

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

APART = ("unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

SHELLS = {
    "dash": "/bin/dash",
    "closed": "/usr/sbin/nologin",
    "chatty": "{folder}/chatty",
}
"""Users of every host, besides root, and their login shells."""

PASSPHRASE = "open sesame"
"""Of the key for the host that ssh knows as `locked`."""

CHATTY = """#!/bin/sh
i=0; while [ $i -lt 3000 ]; do echo "line $i of a long message for everyone who logs in"; i=$((i+1)); done
exec /bin/sh "$@"
"""


def rights_missing() -> str:
    """Return which rights the stage lacks here, "" for none."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "root on Linux"
    name = f"nbp{os.getpid()}"
    try:
        run("unshare", "--net", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt")
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "link", "del", name)
    except RuntimeError as error:
        return f"the right to make them ({error})"
    return ""


def programs_missing() -> str:
    """Return which programs the stage lacks here, "" for none."""
    lacking = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    advice = "Debian: apt-get install openssh-server openssh-client iproute2"
    return f"{', '.join(lacking)} ({advice})" if lacking else ""


def run(*command: str, check: bool = True) -> str:
    """Run a program and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Stage:
    """Some hosts; `with` ends everything that they are made of, also after a failure.

    Args:
        folder: a new folder that all hosts see.
        count: number of hosts, called `one`, `two` and so on.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.names = ["one", "two", "three", "four"][:count]
        self.config = folder / "ssh_config"
        self._tag = f"{os.getpid() % 100_000:05}"
        self._bridge = f"nbb{self._tag}"
        number = os.getpid()
        self._subnet = f"198.{18 + number // 250 % 2}.{number % 250}"  # these are for tests (RFC 2544)
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self):
        try:
            self._make_keys()
            self._make_network()
            for number, name in enumerate(self.names):
                self._make_host(number, name)
            for name in self.names:
                self._wait_for(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            for pid in self.pids(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()
        for number, name in enumerate(self.names):
            run("ip", "netns", "del", self._space(name), check=False)
            run("ip", "link", "del", f"nbv{self._tag}{number}", check=False)
            with suppress(OSError):
                self._shelf(name).rmdir()
        run("ip", "link", "del", self._bridge, check=False)

    @property
    def command(self) -> list[str]:
        """The ssh client that knows the hosts."""
        return ["ssh", "-F", str(self.config)]

    @property
    def clients(self) -> list[list[str]]:
        """The ssh clients of this stage that run here."""
        lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        return [line for line in lines if line[:3] == self.command]

    def ssh(self, name: str, command: str) -> str:
        """Run a command on a host and return its output."""
        return run(*self.command, name, command)

    def pids(self, name: str) -> list[int]:
        """All processes of a host, as this machine numbers them."""
        return [int(pid) for pid in run("ip", "netns", "pids", self._space(name), check=False).split()]

    def programs(self, name: str) -> list[str]:
        """The command lines of a host's processes, except those of its sshd."""
        lines = []
        for pid in self.pids(name):
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if line and "sshd" not in line and "unshare" not in line:
                    lines.append(line[:200])
        return lines

    def left_on(self, name: str) -> list[str]:
        """The files on a host's own disks."""
        found = self.ssh(name, 'find /tmp /dev/shm "$HOME" -xdev -mindepth 1')
        return [line for line in found.splitlines() if line not in self._kept]

    def cut(self, name: str) -> None:
        """Pull the cable of a host."""
        run("ip", "link", "set", f"nbv{self._tag}{self.names.index(name)}", "down")

    def mend(self, name: str) -> None:
        """Put it back."""
        run("ip", "link", "set", f"nbv{self._tag}{self.names.index(name)}", "up")

    def received(self, name: str) -> int:
        """Bytes that have crossed the cable of a host towards it."""
        counter = f"/sys/class/net/nbv{self._tag}{self.names.index(name)}/statistics/tx_bytes"
        return int(Path(counter).read_text())

    def move(self, address: int) -> None:
        """Move this machine to another address, as a notebook that changes its network.

        Connections from the address that it had die without a word.
        """
        run("ip", "addr", "flush", "dev", self._bridge)
        run("ip", "addr", "add", f"{self._subnet}.{address}/24", "dev", self._bridge)

    @property
    def own_address(self) -> str:
        """The address of this machine, as the hosts see it."""
        return f"{self._subnet}.1"

    def address(self, name: str) -> str:
        """The address of a host."""
        return f"{self._subnet}.{self.names.index(name) + 2}"

    def add_alias(self, alias: str, name: str, *settings: str) -> None:
        """Give a host another name, for which ssh has these settings."""
        lines = "".join(f"    {line}\n" for line in settings)
        entry = (
            f"Host {alias}\n    HostName {self.address(name)}\n    IdentityFile {self.folder}/key\n{lines}"
        )
        self.config.write_text(f"{self.config.read_text()}{entry}{self._common}\n")

    def add_ipv6(self, name: str) -> None:
        """Give a host an address of IPv6, at which another sshd listens; ssh knows it as `six`."""
        space, prefix = self._space(name), f"fd00:{int(self._tag):x}"
        run("ip", "addr", "add", f"{prefix}::1/64", "dev", self._bridge, "nodad")
        run("ip", "-n", space, "addr", "add", f"{prefix}::2/64", "dev", "eth0", "nodad")
        options = f"-o ListenAddress=[{prefix}::2]:22 -f {self.folder}/sshd-{name}"
        self.ssh(name, f"sed /ListenAddress/d {self.folder}/sshd-{name} > {self.folder}/sshd-six")
        self.ssh(name, f"/usr/sbin/sshd -e {options.replace(f'sshd-{name}', 'sshd-six')} 2>/dev/null")
        entry = f"Host six\n    HostName {prefix}::2\n    IdentityFile {self.folder}/key\n"
        self.config.write_text(f"{self.config.read_text()}{entry}{self._common}\n")

    # ---- steps

    def _space(self, name: str) -> str:
        return f"nbpar-{self._tag}-{name}"

    def _shelf(self, name: str) -> Path:
        """Where a host keeps the shared folders while it gets disks of its own."""
        return Path(f"/run/nbpar-stage-{self._tag}-{name}")

    def _make_keys(self) -> None:
        for key in ("key", "stranger", *(f"host-{name}" for name in self.names)):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-f", str(self.folder / "locked"))
        authorized = self.folder / "authorized_keys"
        authorized.write_text("".join((self.folder / f"{key}.pub").read_text() for key in ("key", "locked")))
        authorized.chmod(0o600)
        chatty = self.folder / "chatty"
        chatty.write_text(CHATTY)
        chatty.chmod(0o755)
        (self.folder / "banner").write_text("Authorized users only.\n")
        users = [
            f"{user}:x:0:0::/root:{shell.format(folder=self.folder)}\n" for user, shell in SHELLS.items()
        ]
        (self.folder / "passwd").write_text(Path("/etc/passwd").read_text() + "".join(users))

    @property
    def _common(self) -> str:
        """The settings of ssh for all hosts."""
        return "\n".join(
            [
                f"    UserKnownHostsFile {self.folder}/known_hosts",
                "    GlobalKnownHostsFile /dev/null",
                "    StrictHostKeyChecking accept-new",
                "    IdentitiesOnly yes",
                "    User root",
            ]
        )

    def _make_network(self) -> None:
        run("ip", "link", "add", self._bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self._subnet}.1/24", "dev", self._bridge)
        run("ip", "link", "set", self._bridge, "up")
        common = self._common
        hosts = [(name, f"{self._subnet}.{number + 2}", "key") for number, name in enumerate(self.names)]
        hosts += [("nowhere", f"{self._subnet}.200", "key"), ("refused", f"{self._subnet}.2", "stranger")]
        hosts += [("locked", f"{self._subnet}.2", "locked")]
        entries = [
            f"Host {name}\n    HostName {address}\n    IdentityFile {self.folder}/{key}\n{common}\n"
            for name, address, key in hosts
        ]
        unknown = common.replace("known_hosts", "no_known_hosts").replace("accept-new", "yes")
        entries.append(
            f"Host unknown\n    HostName {self._subnet}.2\n    IdentityFile {self.folder}/key\n{unknown}\n"
        )
        self.config.write_text("".join(entries))

    def _make_host(self, number: int, name: str) -> None:
        space, cable = self._space(name), f"nbv{self._tag}{number}"
        address = f"{self._subnet}.{number + 2}"
        run("ip", "netns", "add", space)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", cable, "master", self._bridge, "up")
        run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "link", "set", "lo", "up")
        settings = [
            f"ListenAddress {address}:22",
            f"HostKey {self.folder}/host-{name}",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"Banner {self.folder}/banner",
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            "PermitRootLogin prohibit-password",
            f"SetEnv SLURM_CONF={self.folder}/slurm/slurm.conf",
        ]
        config = self.folder / f"sshd-{name}"
        config.write_text("\n".join(settings) + "\n")
        log = (self.folder / f"sshd-{name}.log").open("wb")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", space, *APART, "sh", "-ec", self._script(name, config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )  # fmt: skip

    @property
    def _kept(self) -> list[str]:
        """Folders of this machine that lie where hosts have their own disks, and their parents."""
        shared = [str(self.folder), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])]
        return [str(parent) for path in shared for parent in (Path(path), *Path(path).parents)]

    def _script(self, name: str, config: Path) -> str:
        """Give a host disks of its own, and start its sshd."""
        shared = [str(self.folder), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])]
        kept = f"{self.folder}/kept-{name}"
        lines = [f"hostname {name}", f"mkdir -p {kept} /run/sshd", f"mount -t tmpfs none {kept}"]
        for number, path in enumerate(shared):
            lines += [f"mkdir {kept}/{number}", f"mount --bind {shlex.quote(path)} {kept}/{number}"]
        lines += [f"mkdir {self._shelf(name)}", f"mount --rbind {kept} {self._shelf(name)}"]
        lines += [f"mount -t tmpfs none {place}" for place in ("/tmp", "/dev/shm", "/root")]
        for number, path in enumerate(shared):
            inside = f"{self._shelf(name)}/{number}"
            quoted = shlex.quote(path)
            lines.append(f"[ -d {quoted} ] || {{ mkdir -p {quoted}; mount --bind {inside} {quoted}; }}")
        lines += [
            f"mount --bind {self.folder}/passwd /etc/passwd",
            f"exec /usr/sbin/sshd -D -e -f {config}",
        ]
        return "\n".join(lines)

    def _wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            done = subprocess.run(
                [*self.command, name, "hostname"], capture_output=True, text=True, check=False
            )
            if done.stdout.strip() == name:
                return
            if time.monotonic() > deadline:
                log = (self.folder / f"sshd-{name}.log").read_text()
                raise RuntimeError(f"the host {name} did not come up: {done.stderr}{log}")
            time.sleep(0.1)
