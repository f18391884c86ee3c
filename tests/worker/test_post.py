"""The mail of a worker loop, which the loop and its attendant share."""

from nbpar.wire.messages import Ping, Ready, Release
from nbpar.worker.post import Post


class Silent:
    """A way on which nothing comes any more."""

    ended = False

    def receive(self, timeout):
        assert not timeout, "the loop waits for what its attendant has read already"
        return []

    def send(self, messages):
        pass


class LockOfTheAttendant:
    """A lock that the loop gets when the attendant has read of the end."""

    def __init__(self, post):
        self.post = post

    def __enter__(self):
        self.post._take(Release())

    def __exit__(self, *exc_info):
        pass


def test_the_loop_ends_when_its_attendant_has_read_of_the_end_meanwhile():
    post = Post(Silent(), not_begun=lambda call: call)
    post._lock = LockOfTheAttendant(post)

    assert post.next_call(silence=60) is None

    assert post.reason == "released"


class Deaf:
    """A way on which the first messages are lost; then the client answers each."""

    ended = False

    def __init__(self, lost):
        self.lost = lost
        self.sent = 0

    def receive(self, timeout):
        return [Ping(0)] if self.sent > self.lost else []

    def send(self, messages):
        self.sent += len(messages)


def test_a_loop_greets_until_the_client_has_heard_it():
    way = Deaf(lost=2)

    Post(way, not_begun=lambda call: call).greet(Ready({}))

    assert way.sent == 3
