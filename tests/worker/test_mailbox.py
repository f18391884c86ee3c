"""The mail of a worker loop, which the loop, its attendant and channels share."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from nbpar.testing import until
from nbpar.wire.messages import Call, Cancel, Cut, Done, Item, Load, Missing, Ping, Pong, Ready, Release
from nbpar.worker.mail.mailbox import UNANSWERED, Mailbox
from nbpar.worker.signals import Interrupts, Shield


class Client:
    """The other side: what it says arrives in these portions, one with each look; then it is silent."""

    ended = False

    def __init__(self, *portions):
        self.portions = deque(portions)
        self.sent = []
        self.woken = threading.Event()

    def say(self, *messages):
        self.portions.append(messages)
        self.woken.set()

    def poll(self, timeout):
        if not self.portions:
            self.woken.wait(min(timeout, 60))
            self.woken.clear()

    def receive(self, timeout):
        assert not timeout, "messages are waited for by `poll`"
        return self.portions.popleft() if self.portions else []

    def send(self, messages):
        self.sent += messages

    def wake(self):
        self.woken.set()


class NoChannels:
    """There are none; what they would get is kept."""

    dropped = ()

    def __init__(self):
        self.taken = []

    def take(self, message):
        if isinstance(message, Item):
            self.taken.append(message)
        return isinstance(message, Item)

    def close_dropped(self):
        """There are none."""

    def tell_printed(self):
        """Nothing prints."""


def make_mailbox(client, *, silence=60.0):
    return Mailbox(
        client,
        Shield(Interrupts()),
        NoChannels(),
        silence=silence,
        not_begun=lambda call: ("not begun", call.id),
    )


def call(number, digest=b"f"):
    return Call(number, 1, digest, 0, "one", False, False, None, None, 0, {}, None)


def in_thread(function):
    """Call a function in a thread and return what has its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()

    def result():
        thread.join(60)
        return results[0]

    return result


def test_the_loop_ends_when_another_thread_has_read_of_the_end():
    client = Client()
    mailbox = make_mailbox(client)
    next_call = in_thread(mailbox.next_call)

    client.say(Release())

    assert next_call() is None
    assert mailbox.reason == "released"


def test_a_loop_that_hears_nothing_ends():
    mailbox = make_mailbox(Client(), silence=0.01)

    assert mailbox.next_call() is None
    assert mailbox.lost
    assert mailbox.reason == "the client was silent for 0.01 s"


def test_a_loop_greets_until_the_client_has_heard_it():
    client = Client()
    client.poll = lambda timeout: None
    client.receive = lambda timeout: [Ping(0)] if len(client.sent) > 2 else []

    make_mailbox(client).greet(Ready({}))

    assert client.sent[:3] == [Ready({})] * 3


def test_a_loop_whose_greeting_is_not_answered_ends():
    client = Client()
    mailbox = make_mailbox(client)

    mailbox.greet(Ready({}), within=0.01)

    assert client.sent[0] == Ready({})
    assert mailbox.next_call() is None
    assert mailbox.reason == UNANSWERED


def test_a_loop_whose_greeting_is_answered_goes_on():
    mailbox = make_mailbox(Client((Ping(0),), (call(1),)))

    mailbox.greet(Ready({}), within=60)

    assert mailbox.next_call().id == 1


def test_all_who_wait_go_on_when_the_client_has_ended():
    mailbox = make_mailbox(Client())
    item = in_thread(lambda: mailbox.wait(lambda: False, None))
    until(lambda: mailbox._reader)
    next_call = in_thread(mailbox.next_call)

    mailbox.lose_client()

    assert next_call() is None
    assert item() is False
    assert mailbox.reason == "the client is gone"


def test_what_one_thread_reads_reaches_the_loop_that_waits_for_it():
    client = Client()
    mailbox = make_mailbox(client)
    item = in_thread(lambda: mailbox.wait(lambda: bool(mailbox._channels.taken), 60))
    until(lambda: mailbox._reader)
    next_call = in_thread(mailbox.next_call)

    client.say(call(1))
    assert next_call().id == 1
    client.say(Item(5, None))
    assert item()


def test_answers_and_items_leave_in_the_order_in_which_they_were_given():
    client = Client()
    mailbox = make_mailbox(client)

    mailbox.put([Pong(1)])
    mailbox.outbox.post(Item(1, None), in_flow=True)
    mailbox.put([Pong(2)])
    assert client.sent == []
    mailbox.send(Pong(3))

    assert client.sent == [Pong(1), Item(1, None), Pong(2), Pong(3)]


def test_an_item_after_queued_answers_is_not_left_waiting():
    client = Client()
    mailbox = make_mailbox(client)
    mailbox.put([Pong(1)])

    mailbox.outbox.post(Item(1, None), in_flow=True)

    until(lambda: client.sent == [Pong(1), Item(1, None)])
    mailbox.close()


def test_calls_that_have_not_begun_come_back_and_the_one_that_runs_does_not():
    client = Client([call(1), call(2), call(3)], [Cancel((1, 3)), Cut(2), Cut(1), Ping(7)])
    mailbox = make_mailbox(client)
    assert mailbox.next_call().id == 1

    mailbox.exchange()

    assert client.sent == [("not begun", 3), ("not begun", 2), Pong(7)]
    assert mailbox.cut == 1
    assert mailbox.is_given_up(1)
    assert not mailbox.is_given_up(2)


def test_calls_wait_for_their_function_together():
    client = Client([call(1), call(2, b"g"), call(3)])
    mailbox = make_mailbox(client)

    mailbox.ask_for_function(mailbox.next_call())
    mailbox.flush()

    assert client.sent == [Missing(b"f", (1, 3))]
    assert mailbox.taken is None
    assert mailbox.next_call().id == 2


def test_a_thread_that_was_struck_while_it_read_can_read_again():
    client = Client([Load(b"f", "f", None)], [call(1)])
    mailbox = make_mailbox(client)
    mailbox._reader = threading.get_ident()  # as if an exception had hit it just before it let go

    assert mailbox.next_call().id == 1


@pytest.mark.parametrize("at", ["send", "receive"])
def test_an_exception_with_messages_in_hand_makes_the_mail_unusable(at):
    client = Client([Ping(1)])
    mailbox = make_mailbox(client)

    def struck(_):
        raise SystemExit

    setattr(client, at, struck)
    with pytest.raises(SystemExit):
        mailbox.send(Pong(1)) if at == "send" else mailbox.exchange()

    assert mailbox.torn
    assert mailbox.ended


def test_nothing_is_sent_or_read_after_the_end():
    client = Client([call(1)])
    mailbox = make_mailbox(client)

    mailbox.close()
    mailbox.send(Done)
    mailbox.exchange()

    assert client.sent == []
    assert len(client.portions) == 1
