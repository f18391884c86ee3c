"""Fork from the fork server and turn the copy into a controller, an engine or a connection to a host."""

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
from nbpar.cluster.fork_server.protocol import ForkRequest, Line, LineBuffer, encode
from nbpar.cluster.watchdog import clean_up_with_parent, end_with_parent
from nbpar.host.descriptors import raise_descriptor_limit


def fork_child(
    order: ForkRequest, connection: str, link: socket.socket, directory: Path, forget: Callable[[], None]
) -> int:
    """Fork the process that `order` describes and return its pid.

    Args:
        order: describes the process.
        connection: connection file of its controller as JSON, "" when the order's environment has it.
        link: the child's end of a pair that the template reads.
        directory: the cluster's, which a controller removes if the template is killed.
        forget: closes, in the child, resources that belong to the template alone.

    Raises:
        OSError: the system cannot create a process.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        forget()
        end_with_parent(parent)
        _become(order, connection)
        code = _run(order, link, directory, parent)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException as error:  # noqa: BLE001 (nothing may climb back into the template's code)
        traceback.print_exc()
        with suppress(OSError):  # the template is gone
            link.sendall(encode({"error": f"{type(error).__name__}: {error}"}))
    finally:
        _leave(code)
    return 0


def _become(order: ForkRequest, connection: str) -> None:
    """Replace the template's environment by that of the order."""
    os.setsid()
    _restore_signals()
    _write_to(order.log)
    if order.kind in ("controller", "host"):
        raise_descriptor_limit()
    around = order.surroundings
    os.environ.clear()
    os.environ.update(around.environment)
    if connection:
        os.environ["IPP_CONNECTION_INFO"] = connection
    if around.nice:
        os.nice(around.nice)
    with suppress(OSError):  # gone, or not permitted: the engine stays in the template's folder
        os.chdir(around.folder)
    sys.path[:] = around.path or sys.path
    sys.argv = ["ipengine" if order.kind == "worker" else f"ip{order.kind}"]
    if "numpy" in sys.modules:  # preloaded: each engine needs its own random numbers
        sys.modules["numpy"].random.seed()
    gc.enable()


def _write_to(log: str) -> None:
    """Redirect output to a file; if the disk is full, to the template's."""
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        sys.stderr.write(f"no log of its own for this process: {error}\n")
        return
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(order: ForkRequest, link: socket.socket, directory: Path, parent: int) -> int:
    if order.kind == "controller":
        return _run_controller(order.arguments, link, directory, parent)
    if order.kind == "host":
        from nbpar.cluster.remote.near import main

        return main(order.arguments[0], link)
    if order.kind == "worker":
        from nbpar.cluster.entered import serve

        return serve(link)
    from nbpar.cluster.engine import SteadyEngine

    try:
        SteadyEngine.launch_instance(order.arguments)
    except RuntimeError as error:  # asyncio's form of a stopped engine
        if "Event loop stopped" not in str(error):
            raise
    return 0


def _run_controller(arguments: list[str], link: socket.socket, directory: Path, parent: int) -> int:
    from nbpar.cluster.controller import Controller

    controller = Controller.instance()
    lines = LineBuffer()

    def leave() -> None:
        """The template is gone, and so is its cleanup: do it here."""
        remove_directory(directory)
        os._exit(1)

    def report(ready: Any) -> None:
        clean_up_with_parent(parent, leave)
        ready.loop.add_handler(link.fileno(), listen, ready.loop.READ)
        try:
            link.sendall(encode(ready.connection_info()))
        except BrokenPipeError:
            leave()
        except OSError as error:  # its files were cleaned up
            link.sendall(encode({"error": str(error)}))
            os._exit(1)

    def listen(_descriptor: int, _events: int) -> None:
        try:
            block = link.recv(65536)
        except ConnectionError:
            block = b""
        for line in lines.feed(block):
            _obey(controller, line)
        if not block:
            leave()

    controller.when_ready = report
    controller.initialize(arguments)
    controller.start()
    return 0


def _obey(controller: Any, line: Line) -> None:
    if "gone" in line:
        controller.forget(line["gone"])


def _leave(code: int) -> None:
    """Exit like an interpreter, but without unwinding into the template's frames."""
    with suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 (as multiprocessing does after a fork)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)
