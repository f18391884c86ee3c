"""Processes that fork while they have channels: the child must not use the parent's."""

import subprocess
import sys

import pytest

from nbpar.testing import until

CLIENT = """
import os
import sys
import nbpar

def told(action):
    try:
        return action()
    except Exception as error:
        return type(error).__name__

if __name__ == "__main__":
    pool = nbpar.Pool(1)
    gateway = pool.gateways[0]
    channel = gateway.remote_exec("for item in channel: channel.send(item)")
    channel.send(1)
    print(channel.receive(20), flush=True)
    if not os.fork():
        print(told(lambda: channel.send(2)), told(lambda: channel.receive(1)), end=" ")
        print(told(lambda: gateway.remote_exec("1")), told(lambda: pool.map(abs, [1])), flush=True)
        sys.exit()
    os.wait()
    channel.send(3)
    print(channel.receive(20), pool.map(abs, [-4]) if channel.close() is None else "", flush=True)
"""


@pytest.mark.engines
def test_a_fork_of_the_client_leaves_the_workers_to_its_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CLIENT)

    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=False)

    assert done.stdout.splitlines() == [
        "1",
        "ChannelBroken ChannelBroken PoolClosedError PoolClosedError",
        "3 [4]",
    ], done.stderr


def test_a_fork_of_code_neither_sends_nor_goes_on_where_the_code_ends(engines):
    def fork(channel):
        import os

        child = os.fork()
        if not child:
            channel.send("child")
        channel.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    gateway = engines.gateways[0]

    assert list(gateway.remote_exec(fork)) == [0]
    assert list(gateway.remote_exec(fork, thread=True)) == [0]
    assert list(gateway.remote_exec("channel.send(1)")) == [1]
    until(lambda: not gateway.remote_status().numexecuting)
