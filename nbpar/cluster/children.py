"""Fork a process of the template and turn the copy into a controller or an engine."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.cluster.directory import remove_directory
from nbpar.cluster.orders import Line, Lines, Order, encode
from nbpar.cluster.watchdog import end_with_parent

MOST_DESCRIPTORS = 65536
"""Open files that a controller allows itself, where the system lets it."""


def fork_child(
    order: Order, connection: str, link: socket.socket, directory: Path, forget: Callable[[], None]
) -> int:
    """Fork the process that `order` describes and return its pid.

    Args:
        order: what it becomes.
        connection: connection file of its controller as JSON, "" when the order's environment has it.
        link: the child's end of a pair that the template reads.
        directory: the cluster's, which a controller removes when the template was killed.
        forget: closes, in the child, what belongs to the template alone.

    Raises:
        OSError: the system has no process to give.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        forget()
        _become(order, connection, parent)
        code = _run(order, link, directory)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:  # noqa: BLE001 (nothing may climb back into the template's code)
        traceback.print_exc()
    finally:
        _leave(code)
    return 0


def _become(order: Order, connection: str, parent: int) -> None:
    """Take over the surroundings of the order in place of the template's."""
    os.setsid()
    _restore_signals()
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    if order.kind == "engine":
        end_with_parent(parent)
    else:
        _raise_descriptor_limit()
    around = order.surroundings
    os.environ.clear()
    os.environ.update(around.environment)
    if connection:
        os.environ["IPP_CONNECTION_INFO"] = connection
    if around.nice:
        os.nice(around.nice)
    with suppress(OSError):  # gone, or not for us: the engine stays where the template is
        os.chdir(around.folder)
    sys.path[:] = around.path or sys.path
    sys.argv = [f"ip{order.kind}"]
    if "numpy" in sys.modules:  # preloaded: each engine needs its own random numbers
        sys.modules["numpy"].random.seed()
    gc.enable()


def _raise_descriptor_limit() -> None:
    """A controller has a dozen connections to each engine and client."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(order: Order, link: socket.socket, directory: Path) -> int:
    if order.kind == "controller":
        return _run_controller(order.arguments, link, directory)
    from nbpar.cluster.engine import SteadyEngine

    try:
        SteadyEngine.launch_instance(order.arguments)
    except RuntimeError as error:  # what asyncio makes of an engine that was asked to end
        if "Event loop stopped" not in str(error):
            raise
    return 0


def _run_controller(arguments: list[str], link: socket.socket, directory: Path) -> int:
    from nbpar.cluster.controller import Controller

    controller = Controller.instance()
    lines = Lines()

    def report(ready: Any) -> None:
        link.sendall(encode(ready.connection_info()))
        ready.loop.add_handler(link.fileno(), listen, ready.loop.READ)

    def listen(_descriptor: int, _events: int) -> None:
        block = link.recv(65536)
        for line in lines.feed(block):
            _obey(controller, line)
        if not block:  # the template is gone, and with it whoever else would clean up
            remove_directory(directory)
            os._exit(1)

    controller.when_ready = report
    controller.initialize(arguments)
    controller.start()
    return 0


def _obey(controller: Any, line: Line) -> None:
    if "gone" in line:
        controller.forget(line["gone"])


def _leave(code: int) -> None:
    """End as an interpreter would, but without unwinding into the template's frames."""
    with suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 (as multiprocessing does after a fork)  # noqa: SLF001 (as multiprocessing does after a fork)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)
