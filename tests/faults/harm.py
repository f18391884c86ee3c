"""Ways to harm a pool: its engines, the processes they depend on, and the connections."""

from __future__ import annotations

import os
import signal
import socket

import psutil
import pytest

from nbpar.testing import until


def engines(pool):
    """The processes of its engines, without asking them."""
    return {facts["pid"] for facts in pool.workers if facts.get("pid")}


def has_controller(pool):
    """Whether its engines have one."""
    return pool._place.backend.access.client is not None


def family(pool):
    """The pool's template, its controller if any, and one engine, by role, when none is coming or going."""
    roles = {}

    def complete():
        pids = engines(pool)
        children = psutil.Process().children(recursive=True)
        parents = {process.pid: process.ppid() for process in children}
        templates = {parents[pid] for pid in pids if pid in parents}
        others = [p.pid for p in children if p.ppid() in templates and p.pid not in pids]
        if len(templates) == 1 and len(others) == has_controller(pool):
            roles.update(template=templates.pop(), engine=min(pids))
            if others:
                roles["controller"] = others[0]
        return bool(roles)

    until(complete)
    return roles


def kill_an_engine(pool):
    os.kill(min(engines(pool)), signal.SIGKILL)


def kill_all_engines(pool):
    for pid in engines(pool):
        os.kill(pid, signal.SIGKILL)


def stop_an_engine(pool):
    """Make it hang: it is alive and does nothing more."""
    os.kill(min(engines(pool)), signal.SIGSTOP)


def kill_the_controller(pool):
    if not has_controller(pool):
        pytest.skip("its engines have none")
    os.kill(family(pool)["controller"], signal.SIGKILL)
    until(lambda: pool.broken)


def kill_the_template(pool):
    os.kill(family(pool)["template"], signal.SIGKILL)
    until(lambda: pool.broken)


def cut_connections(pool):
    """End every connection over which items and results go."""
    backend = pool._place.backend
    sockets = backend._sockets
    if sockets is None:
        return  # there is none yet
    for connection in list(sockets._local.connections.values()) if sockets._local is not None else ():
        connection.socket.shutdown(socket.SHUT_RDWR)
    if not has_controller(pool):
        return
    port = int(backend.access.client._config["control"].rsplit(":", 1)[1])
    for connection in psutil.Process().net_connections("tcp"):
        if connection.raddr and connection.raddr.port == port:
            with socket.socket(fileno=os.dup(connection.fd)) as copy:
                copy.shutdown(socket.SHUT_RDWR)


def delete_the_socket(pool):
    """Delete the file by which engines find the pool."""
    sockets = pool._place.backend._sockets
    if sockets is not None and sockets._local is not None:
        sockets._local._path.unlink(missing_ok=True)


def kill_one_that_starts(cluster, role):
    """Kill a process of a cluster as soon as it is there."""
    os.kill(first_pid(cluster, role), signal.SIGKILL)


def first_pid(cluster, role):
    pids = []

    def there():
        if (room := cluster._room) is not None:
            found = {
                "template": [room._template._process.pid],
                "controller": [room._controller.pid],
                "engine": [process.pid for process in list(room._engines.values())],
            }
            pids[:] = [pid for pid in found[role] if pid]
        return bool(pids)

    until(there)
    return pids[0]
