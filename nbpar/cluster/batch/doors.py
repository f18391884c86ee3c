"""Connections of jobs to the login node: the greeting, lines, and streams that are relayed to the owner."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import psutil

from nbpar.cluster.batch.greeting import LONGEST_GREETING, Doorkeeper
from nbpar.cluster.fork_server.protocol import Line
from nbpar.cluster.remote.multiplexer import FrameError, Multiplexer

GREETING_WITHIN = 20.0
"""Seconds for a connection to prove that it is a job's."""


class Door:
    """One connection, which may be a job's.  For one thread.

    Args:
        link: the connection.
        key: the key that jobs know.
        ports: ports of the controller.
        owner: relays streams to the controller; None: jobs connect to it themselves.
    """

    def __init__(self, link: socket.socket, key: str, ports: set[int], owner: Multiplexer | None) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.on_ready: Callable[[Door, dict[str, Any]], None] = lambda *_: None
        self.on_line: Callable[[Door, Line], None] = lambda *_: None
        self._link = link
        self._keeper = Doorkeeper(key)
        self._ports = ports
        self._owner = owner
        self._ready = False
        self._refused = False
        self._opened = time.monotonic()
        self._outgoing = os.dup(link.fileno())
        self._multiplexer = Multiplexer(
            link.fileno(), self._outgoing, self, first=2, preamble=self._take_greeting
        )
        self._multiplexer.send_raw(f"{self._keeper.challenge}\n".encode())

    @property
    def job(self) -> int:
        """Number of its job, -1 while it is not proved."""
        return -1 if self._keeper.job is None else self._keeper.job

    @property
    def ended(self) -> bool:
        """Whether it is of no more use."""
        return self._refused or bool(self._multiplexer.ended)

    def overdue(self, now: float) -> bool:
        """Whether the greeting takes too long."""
        return not self._ready and now - self._opened > GREETING_WITHIN

    def fileno(self) -> int:
        """A descriptor that can be read when there is something to do."""
        return self._multiplexer.fileno()

    def step(self) -> None:
        """Do what can be done without waiting."""
        if not self.ended:
            with suppress(FrameError):
                self._multiplexer.step(0.0)

    def say(self, line: Line) -> None:
        """Send a line to the job."""
        if self._ready and not self.ended:
            self._multiplexer.send_line(json.dumps(line).encode())

    def close(self) -> None:
        """Close it.  Idempotent."""
        self._refused = True
        self._multiplexer.close()
        if self._link.fileno() >= 0:
            self._link.close()
            os.close(self._outgoing)

    # ---- events of the multiplexer

    def line(self, text: bytes) -> None:
        """Pass on a line of the job."""
        self.on_line(self, json.loads(text))

    def opened(self, payload: bytes) -> socket.socket | None:
        """Relay a connection of an engine to a port of the controller, and to nothing else."""
        if self._owner is None or not payload.isdigit() or int(payload) not in self._ports:
            return None
        ours, theirs = socket.socketpair()
        self._owner.open(theirs, payload)
        return ours

    def _take_greeting(self, buffer: bytearray) -> bool:
        """Take the lines before the first frame; return whether these were all."""
        while not (self._ready or self._refused) and (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end]).decode("ascii", "replace")
            del buffer[: end + 1]
            if self._keeper.job is None:
                self._check(line)
            else:
                self._take_facts(line)
        if not self._ready and len(buffer) > LONGEST_GREETING:
            self._refused = True
        if self._refused:
            buffer.clear()
        return self._ready

    def _check(self, line: str) -> None:
        answer = self._keeper.admit(line)
        if answer is None:
            self._refused = True
            return
        self._multiplexer.seal = self._keeper.seal
        self._multiplexer.send_raw(f"{answer}\n".encode())

    def _take_facts(self, line: str) -> None:
        _, ready, facts = line.partition(" ready ")
        if ready:
            self._ready = True
            self.on_ready(self, json.loads(facts))


def addresses_here() -> list[str]:
    """The addresses at which other hosts may reach this one, best first; loopback ones come last.

    Those of IPv4 come before those of IPv6.
    """
    entries = [entry for _, interface in sorted(psutil.net_if_addrs().items()) for entry in interface]
    families = (socket.AF_INET, socket.AF_INET6) if socket.has_ipv6 else (socket.AF_INET,)
    known = [entry.address for family in families for entry in entries if entry.family == family]
    usable = [address for address in known if "%" not in address]  # that one is valid on one link only
    loopback = [address for address in usable if ip_address(address).is_loopback]
    named: set[str] = set()
    with suppress(OSError):
        answers = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        named = {str(answer[4][0]) for answer in answers}
    found = [address for address in usable if address not in loopback]
    return list(dict.fromkeys([*(address for address in found if address in named), *found, *loopback]))


def in_url(address: str) -> str:
    """The address as it stands in a URL: one of IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address
