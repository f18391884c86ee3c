"""Coalescing of messages, and the credit of a sender."""

import threading

from nbpar.endpoint.credit import MANY, CreditReturn, SendWindow
from nbpar.endpoint.outbox import Outbox
from nbpar.wire.messages import Credit, Items


class Sent(list):
    """The sent messages of an outbox, one list per send."""

    def __init__(self):
        self.reminded = 0
        self.outbox = Outbox(self.append, self.remind)

    def remind(self):
        self.reminded += 1


def a_room(outbox, items=1000, nbytes=1 << 20):
    return SendWindow(outbox.lock, items, nbytes)


def test_a_rare_message_goes_at_once_and_those_after_it_together():
    sent = Sent()

    sent.outbox.post(Credit(1, 1, 1))
    for channel in (2, 3, 4):
        sent.outbox.post(Credit(channel, 1, 1), in_flow=True)

    assert sent == [[Credit(1, 1, 1)]]
    assert sent.reminded == 1
    sent.outbox.flush()
    assert sent[1:] == [[Credit(2, 1, 1), Credit(3, 1, 1), Credit(4, 1, 1)]]


def test_short_items_join_the_last_message_until_another_one_follows():
    sent = Sent()
    room = a_room(sent.outbox)

    sent.outbox.post(Items(1, ["a"]), in_flow=True, room=room)
    room.batch.append("b")
    sent.outbox.post(Credit(2, 1, 1), in_flow=True)

    assert room.batch is None
    sent.outbox.flush()
    assert sent == [[Items(1, ["a", "b"]), Credit(2, 1, 1)]]


def test_no_more_items_join_than_there_is_room_for():
    outbox = Sent().outbox
    room = a_room(outbox, items=5)

    outbox.post(Items(1, ["a"]), in_flow=True, room=room)

    assert room.limit == 5
    room.batch += "bcde"
    outbox.flush()
    assert not room.left
    room.grant(2, 0)
    assert room.left


def test_many_items_go_without_a_reminder():
    sent = Sent()
    room = a_room(sent.outbox)
    sent.outbox.post(Items(1, [0]), in_flow=True, room=room)
    room.batch += range(1, room.limit)

    sent.outbox.post(Items(1, [MANY]), in_flow=True, room=room)

    assert [message.values for message in sent[0]] == [[*range(MANY)], [MANY]]


def test_what_is_posted_while_a_thread_sends_is_sent_by_that_thread():
    threads = []

    def send(messages):
        threads.append((threading.get_ident(), len(messages)))
        if len(threads) == 1:
            other = threading.Thread(target=lambda: [outbox.post(Credit(1, 1, 1)), outbox.flush()])
            other.start()
            other.join(60)

    outbox = Outbox(send, lambda: None)
    outbox.post(Credit(0, 1, 1))

    assert threads == [(threading.get_ident(), 1)] * 2


def test_what_is_corked_goes_when_the_last_cork_is_drawn():
    sent = Sent()
    sent.outbox.cork()
    sent.outbox.cork()
    sent.outbox.post(Credit(1, 1, 1))
    sent.outbox.flush()

    sent.outbox.uncork()
    assert not sent
    sent.outbox.uncork()

    assert sent == [[Credit(1, 1, 1)]]


def test_a_sender_is_told_when_half_of_what_it_may_be_ahead_was_taken():
    lots = CreditReturn(items=10, nbytes=1000)
    for _ in range(7):
        lots.add(1, 10)

    assert lots.taken(left=3) == (0, 0)
    assert lots.mark == 2
    assert lots.taken(left=2) == (5, 50)
    assert lots.mark == -1


def test_a_sender_is_told_of_few_large_items_too():
    lots = CreditReturn(items=10, nbytes=1000)
    lots.add(1, 400)
    lots.add(1, 400)

    assert lots.taken(left=0) == (2, 800)
