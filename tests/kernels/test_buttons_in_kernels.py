"""Buttons work while their cell runs, at the level of messages, in the installed ipykernel."""

import pytest
from kernels import FrontEnd


@pytest.fixture(scope="module")
def front_end():
    front_end = FrontEnd()
    yield front_end
    front_end.close()


@pytest.fixture(params=["plain", "subshell"])
def subshell(request, front_end):
    """JupyterLab sends to a subshell where there are any; VS Code and Colab never do."""
    if request.param == "plain":
        return None
    if not front_end.has_subshells:
        pytest.skip("this kernel has no subshells")
    return front_end.subshell()


@pytest.fixture(autouse=True)
def _clean(front_end):
    front_end.value("pressed.log.clear(); 0")


def test_stop_is_heard_while_the_cell_runs_and_the_next_cell_runs_normally(front_end, subshell):
    cell = front_end.client.execute("heard = play(until=1)")
    following = front_end.client.execute("after = 6 * 7")
    comm = front_end.card_of(cell)
    front_end.wait_for_tick(comm)

    front_end.press(comm, subshell, event="stop", press="a")

    assert front_end.reply(cell)["status"] == "ok"
    assert front_end.reply(following)["status"] == "ok"
    assert front_end.value("heard") == "True", "the run went on to its own end"
    assert front_end.value("pressed.log, after") == "(['stop'], 42)"


def test_each_press_counts_once_although_it_may_arrive_again_after_the_cell(front_end, subshell):
    cell = front_end.client.execute("play(until=4)")
    comm = front_end.card_of(cell)
    presses = [{"event": "pause"}, {"event": "resume"}, {"event": "resize", "by": 1}, {"event": "stop"}]

    for number, press in enumerate(presses):
        front_end.press(comm, subshell, press=str(number), **press)

    assert front_end.reply(cell)["status"] == "ok"
    assert front_end.value("sorted(map(str, pressed.log))") == "['1', 'pause', 'resume', 'stop']"


def test_two_runs_in_one_cell_hear_their_own_buttons(front_end, subshell):
    code = """
    first, second = Pressed(), Pressed()
    views = [view_of(first), view_of(second)]
    end = time.monotonic() + 60
    while not (first.log and second.log) and time.monotonic() < end:
        time.sleep(0.1)
        for view in views: view.show(FakeRun(1).snapshot)
    for view in views: view.close(FakeRun(1).finish)
    """
    cell = front_end.client.execute("if True:" + code)
    one, two = front_end.card_of(cell), front_end.card_of(cell)

    front_end.press(two, subshell, event="pause", press="p")
    front_end.press(one, subshell, event="stop", press="q")

    assert front_end.reply(cell)["status"] == "ok"
    assert front_end.value("first.log, second.log") == "(['stop'], ['pause'])"


def test_the_kernel_s_interrupt_stops_too(front_end):
    cell = front_end.client.execute("play(until=1)", stop_on_error=False)  # or the next cell is dropped
    comm = front_end.card_of(cell)
    front_end.wait_for_tick(comm)

    front_end.interrupt()
    reply = front_end.reply(cell)

    assert reply["ename"] == "KeyboardInterrupt"
    assert front_end.value("1 + 1") == "2"


def test_a_run_in_the_background_hears_its_buttons_between_cells(front_end, subshell):
    front_end.value("thread = threading.Thread(target=lambda: play(1, view)); 0")
    cell = front_end.client.execute("view = view_of(background=True); thread.start()")
    comm = front_end.card_of(cell)
    front_end.reply(cell)

    front_end.press(comm, subshell, event="stop", press="b")

    assert front_end.value("thread.join(60); pressed.log, thread.is_alive()") == "(['stop'], False)"


def test_afterwards_the_kernel_receives_as_if_nobody_had_ever_looked(front_end):
    code = """
    stream = get_ipython().kernel.shell_stream
    callback = stream._recv_callback
    'nbpar' in repr(getattr(callback, 'func', callback))
    """
    cell = front_end.client.execute("play(until=1)")
    comm = front_end.card_of(cell)
    front_end.press(comm, None, event="stop", press="c")
    front_end.reply(cell)

    assert front_end.value("\n".join(line.strip() for line in code.splitlines())) == "False"
