"""Tag sentences of Python's documentation with NLTK: round robin, and by a map."""

import itertools
import os
import pickle
import re
import signal
import sys
from pydoc_data.topics import topics

import pytest
from nltk.tag import RegexpTagger

import nbpar
import nbpar.compat.execnet as execnet

REMOTE_TAG = """
import pickle

if __name__ == "__channelexec__":
    tagger = pickle.loads(channel.receive())
    for sentence in channel:
        channel.send(pickle.dumps(tagger.tag(pickle.loads(sentence))))
"""


@pytest.fixture(scope="module")
def tagger():
    return RegexpTagger([
        (r"^-?\d+(\.\d+)?$", "CD"), (r"(The|the|A|a|An|an)$", "AT"), (r".*able$", "JJ"), (r".*ly$", "RB"),
        (r".*ing$", "VBG"), (r".*ed$", "VBD"), (r".*s$", "NNS"), (r".*", "NN"),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def sentences():
    text = " ".join(topics[name] for name in sorted(topics))
    return [sentence.split() for sentence in re.split(r"(?<=[.?!])\s+", text)[:400]]


@pytest.fixture
def remote_tag(tmp_path, monkeypatch):
    (tmp_path / "remote_tag.py").write_text(REMOTE_TAG)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import remote_tag

    yield remote_tag
    del sys.modules["remote_tag"]


@pytest.mark.engines
def test_two_gateways_tag_round_robin(tagger, sentences, remote_tag):
    with execnet.Group(["popen"] * 2) as group:
        channels = [gateway.remote_exec(remote_tag) for gateway in group]
        for channel in channels:
            channel.send(pickle.dumps(tagger))
        mch = execnet.MultiChannel(channels)
        queue = mch.make_receive_queue()

        for sentence, channel in zip(sentences, itertools.cycle(mch), strict=False):
            channel.send(pickle.dumps(sentence))
        tagged = [(channel, pickle.loads(item)) for channel, item in (queue.get() for _ in sentences)]

    for place, channel in enumerate(channels):
        own = [item for other, item in tagged if other is channel]
        assert own == [tagger.tag(sentence) for sentence in sentences[place::2]]


@pytest.mark.engines
def test_a_map_tags_in_order_and_survives_the_death_of_a_worker(tagger, sentences, tmp_path):
    died = tmp_path / "died"

    def tag(sentence):
        if sentence == sentences[200] and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return tagger.tag(sentence)

    with nbpar.Pool(2, progress="none") as pool:
        tagged = pool.map(tag, sentences)

    assert died.exists()
    assert tagged == [tagger.tag(sentence) for sentence in sentences]
