"""Bytes in memory that several processes map."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbpar.wire.frames import decode, encode
from nbpar.wire.lodging import Lodged, Lodging, NotLodgedError
from nbpar.wire.messages import Load
from nbpar.wire.pickling import Packed

ARRAY = bytes(range(256)) * 5000

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it")


@pytest.fixture
def lodging():
    lodging = Lodging([b"head", ARRAY, b"", b"end"])
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


def test_another_process_can_map_them(lodging):
    program = (
        "import sys; from nbpar.wire.lodging import Lodged\n"
        f"buffers = Lodged(*{tuple(lodging.lodged)!r}).buffers(writable=False)\n"
        "sys.stdout.write(f'{len(buffers[1])} {bytes(buffers[3])}')"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert run.stdout == f"{len(ARRAY)} b'end'"


def test_those_who_have_mapped_them_keep_them_after_closing():
    lodging = Lodging([ARRAY])
    [buffer] = lodging.lodged.buffers(writable=False)

    lodging.close()
    lodging.close()

    assert bytes(buffer) == ARRAY


def test_what_was_closed_is_not_there():
    lodging = Lodging([ARRAY])
    lodging.close()

    with pytest.raises(NotLodgedError):
        lodging.lodged.buffers(writable=False)


def test_another_file_in_the_same_place_is_not_taken_for_it(lodging):
    other = Lodged(lodging.lodged.path, "nbpar-another", lodging.lodged.spans)

    with pytest.raises(NotLodgedError, match="is something else now"):
        other.buffers(writable=False)


def test_no_descriptor_stays_open_behind_what_is_forgotten(lodging):
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(50):
        lodging.lodged.buffers(writable=True)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_message_says_where_they_are(lodging):
    load = Load(b"digest", "f", Packed(b"head", ((4, 2),), lodging.lodged))

    frames = encode([load])

    assert len(frames) == 1
    assert decode(frames) == [load]
