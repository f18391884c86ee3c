"""Shared memory that several processes map."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from nbpar.wire import shared_memory
from nbpar.wire.frames import decode, encode
from nbpar.wire.messages import Load
from nbpar.wire.pickling import Packed
from nbpar.wire.shared_memory import Mapped, NotMappedError, SharedBuffers, give_back

ARRAY = bytes(range(256)) * 5000

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it")


@pytest.fixture
def lodging():
    lodging = SharedBuffers([b"head", ARRAY, b"", b"end"])
    yield lodging
    lodging.close()


@pytest.mark.parametrize("writable", [True, False])
def test_buffers_come_back_as_they_were(lodging, writable):
    buffers = lodging.lodged.buffers(writable=writable)

    assert [bytes(buffer) for buffer in buffers] == [b"head", ARRAY, b"", b"end"]
    assert all(buffer.readonly is not writable for buffer in buffers)


def test_what_one_writes_nobody_else_sees(lodging):
    first, second = (lodging.lodged.buffers(writable=True) for _ in range(2))

    first[1][0] = 200

    assert second[1][0] == ARRAY[0]
    assert lodging.lodged.buffers(writable=True)[1][0] == ARRAY[0]


@pytest.mark.engines
def test_another_process_can_map_them(lodging):
    program = (
        "import sys; from nbpar.wire.shared_memory import Mapped\n"
        f"buffers = Mapped(*{tuple(lodging.lodged)!r}).buffers(writable=False)\n"
        "sys.stdout.write(f'{len(buffers[1])} {bytes(buffers[3])}')"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert run.stdout == f"{len(ARRAY)} b'end'"


def test_those_who_have_mapped_them_keep_them_after_closing():
    lodging = SharedBuffers([ARRAY])
    [buffer] = lodging.lodged.buffers(writable=False)

    lodging.close()
    lodging.close()

    assert bytes(buffer) == ARRAY


def test_what_was_closed_is_not_there():
    lodging = SharedBuffers([ARRAY])
    lodging.close()

    with pytest.raises(NotMappedError):
        lodging.lodged.buffers(writable=False)


def test_another_file_in_the_same_place_is_not_taken_for_it(lodging):
    other = Mapped(lodging.lodged.path, "nbpar-another", lodging.lodged.spans)

    with pytest.raises(NotMappedError, match="is something else now"):
        other.buffers(writable=False)


def test_what_the_system_does_not_map_is_not_there(lodging, monkeypatch):
    def full(*_, **__):
        raise OSError("cannot allocate memory")

    monkeypatch.setattr(shared_memory.mmap, "mmap", full)

    with pytest.raises(NotMappedError, match="cannot allocate memory"):
        lodging.lodged.buffers(writable=False)


def test_no_descriptor_stays_open_behind_what_is_forgotten(lodging):
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(50):
        lodging.lodged.buffers(writable=True)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_nothing_is_kept_of_memory_that_cannot_be_filled(monkeypatch):
    def full(*_):
        raise OSError("no space left")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(OSError, match="no space left"):
        SharedBuffers([ARRAY])

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_memory_is_filled_also_where_the_system_writes_a_part_at_a_time(monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, rest, at: write(file, rest[:1000], at))

    lodging = SharedBuffers([b"head", ARRAY])
    head, array = lodging.lodged.buffers(writable=False)
    lodging.close()

    assert (bytes(head), bytes(array)) == (b"head", ARRAY)


def test_memory_that_only_a_cycle_refers_to_is_given_back(lodging):
    give_back()
    cycle = [*lodging.lodged.buffers(writable=False)]
    cycle.append(cycle)
    memory = weakref.ref(cycle[0].obj)
    gc.disable()
    try:
        del cycle
        assert memory() is not None

        give_back()

        assert memory() is None
    finally:
        gc.enable()


def test_a_process_that_maps_nothing_looks_for_nothing(monkeypatch):
    give_back()
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    monkeypatch.setattr(shared_memory, "_mapped", weakref.WeakSet())

    give_back()

    assert not collected


def test_a_message_says_where_they_are(lodging):
    load = Load(b"digest", "f", Packed(b"head", ((4, 2),), lodging.lodged))

    frames = encode([load])

    assert len(frames) == 1
    assert decode(frames) == [load]
