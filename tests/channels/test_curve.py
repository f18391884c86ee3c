"""Channels to engines of this host whose controller encrypts (CURVE); the other transports run all tests."""

import pytest

import nbpar


@pytest.mark.engines
def test_engines_of_this_host_are_reached_directly_with_curve_too(encrypted):
    with nbpar.Pool(cluster=encrypted, progress="none") as pool:
        channel = pool.gateways[0].remote_exec("for item in channel: channel.send(item)")
        for item in (1, b"x" * 3_000_000, {"a": [1.5]}):
            channel.send(item)

        assert [channel.receive(timeout=60) for _ in range(3)] == [1, b"x" * 3_000_000, {"a": [1.5]}]
