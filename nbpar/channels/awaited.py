"""Tell whether a call is awaited: `await channel.receive()` against `channel.receive()`.

In a notebook an event loop always runs, so its presence says nothing; what says it is the
caller's next instruction.
"""

from __future__ import annotations

import dis
import inspect
from functools import lru_cache
from types import CodeType, FrameType

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def is_awaited(frame: FrameType) -> bool:
    """Whether the call that this frame is making stands directly behind `await`."""
    return bool(frame.f_code.co_flags & _ASYNC) and _awaits(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=512)
def _awaits(code: CodeType, position: int) -> bool:
    for instruction in dis.get_instructions(code):
        if instruction.offset > position and instruction.opname != "CACHE":
            return instruction.opname == "GET_AWAITABLE"
    return False
