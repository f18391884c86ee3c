"""Send finished outcomes of a call while a slow item of it still runs.

It hands out finished outcomes while another item of their call runs, and cuts the call where
the client has other workers for the rest.  The loop's own thread may be deep in user code
meanwhile, so nothing here waits for it.
"""

from __future__ import annotations

import math
import sys
import threading
import time

from nbpar.host.memory import resident_bytes
from nbpar.wire.messages import NO_COSTS, Begun, Done, Message, Output, Shortened
from nbpar.worker.channel_host import Channels
from nbpar.worker.codec import Codec
from nbpar.worker.execution import Execution
from nbpar.worker.mail.mailbox import Mailbox

_clock = time.perf_counter


class Early:
    """Looks at the execution that runs; it is the attendant's, but for `running` and `stop`."""

    def __init__(self, mailbox: Mailbox, channels: Channels, codec: Codec) -> None:
        self.running: Execution | None = None
        """What the loop's thread advances.  Its outcomes belong to the attendant until `stop`."""

        self._mailbox = mailbox
        self._channels = channels
        self._codec = codec
        self._lock = threading.Lock()
        self._looking = False
        self._at = (-1, -1)
        """The call and the index of the item that ran at the last look."""

        self._since = 0.0
        """When that was first seen."""

        self._under_way = math.inf
        """When it was seen under way, at the second look at the earliest."""

        self._told_begin = (-1, -1)
        """The call and the index of the last item that the client was told of."""

        self._refused = (-1, -1)
        """Those of the item that ran when the outcomes before it could not be packed."""

        self._failed = False

    def stop(self) -> None:
        """Leave the execution alone: its outcomes are the caller's from now on."""
        self.running = None
        if self._looking:  # set before `running` is read, so one of the two sees the other
            with self._lock:
                pass

    def look(self) -> None:
        """Hand out what waits for an item that lasts; cut the call if that is wanted."""
        with self._lock:
            self._looking = True
            try:
                if (execution := self.running) is not None and not self._failed:
                    self._look_at(execution)
            except BaseException:  # noqa: BLE001 (the attendant goes on, and the loop tells all in the end)
                self._failed = True
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            finally:
                self._looking = False

    def _look_at(self, execution: Execution) -> None:
        at, now = (execution.call_id, execution.index), _clock()
        lasts = at == self._at
        if not lasts:
            self._at, self._since, self._under_way = at, now, math.inf
        messages: list[Message] = []
        if (lasts or now > execution.deadline) and at != self._refused:
            messages += self._told(execution)
        if self._mailbox.cut == execution.call_id:
            self._mailbox.cut = None
            if (items := execution.cut()) is not None:
                messages.append(Shortened(execution.call_id, items))
        if lasts and execution.begun_after is not None:
            messages += self._begun(execution, execution.begun_after, now)
        if messages:
            self._mailbox.send(*messages)

    def _begun(self, execution: Execution, after: float, now: float) -> list[Message]:
        """Return the message that the running item has begun, once, when it has lasted long enough."""
        items = self._at[1] - execution.call_first + 1
        if self._told_begin == self._at or execution.begun < items:
            return []
        self._under_way = min(self._under_way, now)
        if now - self._under_way < after:
            return []
        self._told_begin = self._at
        return [Begun(execution.call_id, items, now - self._under_way)]

    def _told(self, execution: Execution) -> list[Message]:
        """Return the messages that hand out what is done; outcomes from one on that cannot be packed stay."""
        first, values, faults, seconds, each = execution.early_news(self._since)
        body, unsendable = self._codec.values(values, first)
        if unsendable:  # perhaps only here: the running item may be changing it, or it is bound to a thread
            self._refused = self._at
            values = values[: min(unsendable)]
            faults = {place: fault for place, fault in faults.items() if place < len(values)}
            each, seconds = each[: len(values)], seconds * len(values) / (min(unsendable) + 1)
            body, unsendable = self._codec.values(values, first)
        if not values or unsendable:
            return []
        pieces = self._channels.take_output()
        execution.tell_early(len(values), seconds, self._since)
        done = Done(
            execution.call_id, first, False, False, seconds, each, resident_bytes(), faults, NO_COSTS, 0, body
        )
        return [Output(execution.call_id, pieces), done] if pieces else [done]
