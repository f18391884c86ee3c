"""Take away from nbpar what Windows and macOS lack, to try on Linux what it does without.

    NBPAR_LACKS=windows PYTHONPATH=tests/lacking python -m pytest tests/...

NBPAR_LACKS is `windows`, `macos`, or names with commas between them: `os.fork`, `signal.setitimer`, `fcntl`,
`/proc`.  Python imports this module at its start, so it holds for engines too, which inherit both variables.

Only nbpar's own code is concerned: what it imports are stand-ins for these modules.  Other packages decide
by `sys.platform`, which stays as it is, and need what they find there.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import os
import sys
from types import ModuleType

MACOS = """
    os.memfd_create os.pidfd_open os.sched_getaffinity os.waitid select.epoll signal.sigtimedwait /proc
"""

WINDOWS = """
    os.O_CLOEXEC os.O_NONBLOCK os.O_DIRECTORY os.O_NOFOLLOW os.SCHED_IDLE os.chown os.fchmod os.fchown os.fork
    os.forkpty os.getgid os.getpgid os.getpgrp os.getsid os.getuid os.geteuid os.getloadavg os.getpriority
    os.initgroups os.killpg os.memfd_create os.mkfifo os.nice os.pidfd_open os.posix_spawn os.pread
    os.preadv os.pwrite os.pwritev os.register_at_fork os.sched_getaffinity os.sched_setaffinity
    os.sched_yield os.setpgid os.setpriority os.setsid os.statvfs os.sysconf os.uname os.wait os.waitid
    select.epoll select.poll signal.ITIMER_REAL signal.SIGALRM signal.SIGCHLD signal.SIGCONT signal.SIGHUP
    signal.SIGKILL signal.SIGQUIT signal.SIGSTOP signal.SIGTSTP signal.SIGUSR1 signal.SIGUSR2 signal.alarm
    signal.getitimer signal.pthread_kill signal.pthread_sigmask signal.setitimer signal.sigpending
    signal.sigtimedwait signal.sigwait signal.siginterrupt socket.AF_UNIX socket.SCM_RIGHTS
    socket.SO_PEERCRED socket.recv_fds socket.send_fds fcntl resource pwd grp /proc
"""

CONCERNED = "nbpar"

LIBRARY = os.__file__.removesuffix("os.py")
"""Where `pathlib` is, through which files are opened."""


class Lacking(ModuleType):
    """A module without some of its names."""

    def __init__(self, real: ModuleType, names: set[str]) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _names=names)

    def __getattr__(self, name: str) -> object:
        if name in self._names:
            raise AttributeError(f"module {self._real.__name__!r} has no attribute {name!r}")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        self._names.discard(name)  # a test puts it there
        setattr(self._real, name, value)


class Loader(importlib.abc.Loader):
    """Loads a module of nbpar whose imports lead to stand-ins."""

    def __init__(self, real: importlib.abc.Loader, namespace: dict[str, object]) -> None:
        self._real, self._namespace = real, namespace

    def create_module(self, spec):
        return self._real.create_module(spec)

    def exec_module(self, module):
        module.__dict__["__builtins__"] = self._namespace
        self._real.exec_module(module)

    def __getattr__(self, name):
        return getattr(self._real, name)


class Finder(importlib.abc.MetaPathFinder):
    """Finds modules of nbpar as the path does, and gives them the loader above."""

    def __init__(self, namespace: dict[str, object]) -> None:
        self._namespace = namespace

    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] != CONCERNED:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                if spec.loader is not None and not isinstance(spec.loader, Loader):
                    spec.loader = Loader(spec.loader, self._namespace)
                return spec
        return None


class Path(list):
    """A search path whose first finder stays the first: pytest has one, too."""

    def insert(self, place, finder):
        super().insert(max(1, place), finder)


def namespace_without(lacks: set[str]) -> dict[str, object]:
    """Return builtins whose `__import__` gives stand-ins for what is lacking."""
    names: dict[str, set[str]] = {}
    for lack in lacks:
        module, _, name = lack.rpartition(".")
        names.setdefault(module or lack, set()).update({name} if module else ())
    stand_ins: dict[str, Lacking] = {}

    def importing(name, names_there=None, names_here=None, fromlist=(), level=0):
        if level == 0 and name in lacks:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = builtins.__import__(name, names_there, names_here, fromlist, level)
        if level or module.__name__ not in names:
            return module
        return stand_ins.setdefault(module.__name__, Lacking(module, names[module.__name__]))

    return {**vars(builtins), "__import__": importing}


def hide_proc() -> None:
    """Let no file below /proc be opened or listed by code of nbpar."""

    def refuse(event, arguments):
        if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
            frame = sys._getframe(1)
            while frame is not None and _is_of_library(frame.f_code.co_filename):
                frame = frame.f_back
            if frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == CONCERNED:
                raise FileNotFoundError(2, "No such file or directory", arguments[0])

    sys.addaudithook(refuse)


def _is_of_library(file: str) -> bool:
    return file.startswith((LIBRARY, "<frozen ")) and "-packages" not in file


def take_away(what: str) -> None:
    """Take away what a system lacks, or what a list of names has."""
    system = {"windows": WINDOWS, "macos": MACOS}.get(what)
    lacks = set(system.split() if system is not None else what.split(","))
    if "/proc" in lacks:
        lacks.discard("/proc")
        hide_proc()
    sys.meta_path = Path([Finder(namespace_without(lacks)), *sys.meta_path])


if os.environ.get("NBPAR_LACKS"):
    take_away(os.environ["NBPAR_LACKS"])
