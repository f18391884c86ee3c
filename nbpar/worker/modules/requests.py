"""Ask the client for modules that are imported here, and wait for its answers."""

from __future__ import annotations

from itertools import count

from nbpar.endpoint.carried_modules import Answer, CarriedModule
from nbpar.wire.messages import FoundModule, SeekModule
from nbpar.worker.mail.mailbox import Mailbox
from nbpar.worker.signals import Shield

NOTHING = Answer({})


class ModuleRequests:
    """The questions of one worker; any thread may ask.

    Args:
        mailbox: leads to the client.
        shield: defers signals in the loop's own thread.
    """

    def __init__(self, mailbox: Mailbox, shield: Shield) -> None:
        self._mailbox = mailbox
        self._shield = shield
        self._numbers = count(1)
        self._answers: dict[int, Answer | None] = {}
        """Answers by number of the question, None for those to come."""

        mailbox.take_module = self._take

    def ask(self, name: str, files: bool) -> Answer:
        """Return what the client has of a module, or its data files; nothing when the client is gone.

        Raises:
            Interrupted: the item that waits for it is stopped.
        """
        with self._shield:
            number = next(self._numbers)
            self._answers[number] = None
            try:
                self._mailbox.put([SeekModule(number, name, files)])
                self._mailbox.wait(lambda: self._answers[number] is not None, None)
                return self._answers[number] or NOTHING
            finally:
                del self._answers[number]

    def _take(self, found: FoundModule) -> None:
        if found.number in self._answers:  # the question may have been interrupted
            modules = {name: CarriedModule(*rest) for name, *rest in found.modules}
            self._answers[found.number] = Answer(modules, found.refusal, dict(found.files))
