"""Questions of ssh and their answers."""

import io
import os
import subprocess
import threading

import pytest

from nbpar.cluster.remote import prompts
from nbpar.cluster.remote.prompts import PromptServer, ask_user, can_ask

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs Unix sockets")


@pytest.mark.parametrize(
    ("answer", "said", "code"), [("s3cret \u00e4", "s3cret \u00e4\n", 0), ("", "\n", 0), (None, "", 1)]
)
def test_a_question_of_ssh_gets_its_answer(tmp_path, answer, said, code):
    asked = []
    server = PromptServer(tmp_path, "asks", lambda text, take: (asked.append(text), take(answer)))
    thread = threading.Thread(target=server.accept)
    thread.start()

    program = server.environment["SSH_ASKPASS"]
    done = subprocess.run(
        [program, 'What\'s the "code"?'], capture_output=True, text=True, timeout=60, check=False
    )

    thread.join(60)
    server.close()
    assert asked == ['What\'s the "code"?']
    assert (done.stdout, done.returncode) == (said, code)
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_not_shown_and_confirmations_are(monkeypatch):
    monkeypatch.setattr(prompts, "getpass", lambda text: f"hidden: {text}")
    monkeypatch.setattr("builtins.input", lambda text: f"shown: {text}")

    assert ask_user("gpu01", "Enter passphrase for key: ") == "hidden: ssh gpu01: Enter passphrase for key: "
    assert ask_user("gpu01", "Continue (yes/no)? ") == "shown: ssh gpu01: Continue (yes/no)? "


def test_without_input_there_is_no_answer(monkeypatch):
    def refuse(_text):
        raise EOFError

    monkeypatch.setattr(prompts, "getpass", refuse)

    assert ask_user("gpu01", "Password: ") is None


def test_scripts_and_threads_are_not_asked(monkeypatch):
    found = []
    monkeypatch.setattr("sys.stdin", io.StringIO())
    thread = threading.Thread(target=lambda: found.append(can_ask()))
    thread.start()
    thread.join()

    assert found == [False]
    assert not can_ask()
