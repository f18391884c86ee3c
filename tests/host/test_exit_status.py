"""Wait statuses as text."""

import signal

from nbpar.host.exit_status import Death, death_in, death_of, lacked_memory, memory_kills


def test_an_exit_code_is_told():
    assert death_of(7 << 8).reason == "exit code 7"


def test_a_signal_is_named():
    assert death_of(signal.SIGSEGV).reason == "killed by SIGSEGV"


def test_a_kill_while_memory_ran_out_points_at_the_kernel():
    reason = Death(-signal.SIGKILL, out_of_memory=True).reason

    assert reason == "killed by SIGKILL (the kernel's out-of-memory killer is likely)"


def test_it_says_what_the_process_held_and_that_memory_lacked():
    line = {"status": signal.SIGKILL, "lack": True, "error": "", "peak": 1_234_567_890}

    reason = death_in(line).reason

    assert (
        reason == "killed by SIGKILL (the kernel's out-of-memory killer is likely; it held 1,235 MB at most)"
    )
    assert lacked_memory(reason)
    assert not lacked_memory("killed by SIGKILL")


def test_a_kill_with_memory_left_blames_nobody():
    assert Death(-signal.SIGKILL).reason == "killed by SIGKILL"


def test_a_signal_without_a_name_has_a_number():
    assert Death(-63).reason == "killed by signal 63"


def test_the_kernels_count_of_memory_kills_never_fails():
    assert memory_kills() >= 0
