"""Connections of multiprocessing travel as they do between its own processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_sharer

import pytest

from nbpar.wire.pickling import Pickler, dumps, pack_one, unpack_one


@pytest.fixture
def ends():
    ends = multiprocessing.Pipe()
    yield ends
    for end in ends:
        end.close()
    multiprocessing.resource_sharer.stop(timeout=60)  # it has handed the descriptors over


def test_a_connection_arrives_and_leads_to_the_same_other_end(ends):
    here, there = ends

    arrived = unpack_one(pack_one(there))

    with arrived:
        arrived.send("from there")
        assert here.poll(60)
        assert here.recv() == "from there"
    assert arrived.closed
    assert not there.closed


def test_their_reductions_are_learned_where_the_module_is_imported_anyway(ends, monkeypatch):
    kind = type(ends[0])
    monkeypatch.delitem(Pickler.dispatch_table.maps[0], kind, raising=False)

    dumps(1)

    assert kind in Pickler.dispatch_table
