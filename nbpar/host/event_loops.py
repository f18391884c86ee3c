"""Run code as if no event loop were running in this thread.

An engine runs items inside its kernel's event loop, a serial pool inside the notebook's.
There `asyncio.run` raises, and `get_event_loop` returns a loop that cannot be run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TASK_OF_THREAD = sys.version_info >= (3, 14)
"""Whether asyncio has one current task per thread, and not per loop."""


@contextmanager
def no_event_loop() -> Iterator[None]:
    """Hide the running and the current event loop of this thread during the block.

    Afterwards both are restored; a loop that the block has set is dropped.
    """
    loop, task = _leave_running_loop()
    current = current_loop()
    before = dict(current)
    current.clear()
    try:
        yield
    finally:
        restore_current_loop(before)
        _return_to(loop, task)


def current_loop_to_keep() -> dict[str, Any]:
    """Return a copy of `current_loop()`; an empty one if the loop is closed, or was removed."""
    current = dict(current_loop())
    loop = current.get("_loop")
    return {} if loop is None or loop.is_closed() else current


def current_loop() -> dict[str, Any]:
    """Return the state of asyncio's policy for this thread: the loop of `get_event_loop`, if any is set.

    It is the policy's own dict: changes take effect.
    """
    policy = getattr(sys.modules.get("asyncio.events"), "_event_loop_policy", None)
    kept = getattr(policy, "_local", None)
    return vars(kept) if kept is not None else {}


def restore_current_loop(before: dict[str, Any]) -> None:
    """Restore this thread's state from a copy of `current_loop()`."""
    current = current_loop()
    if current != before:
        current.clear()
        current.update(before)


def _leave_running_loop() -> tuple[Any, Any]:
    """Hide and return the running loop of this thread, and on new Pythons its task."""
    asyncio = sys.modules.get("asyncio")
    loop = getattr(asyncio, "_get_running_loop", lambda: None)()
    if asyncio is None or loop is None:
        return None, None
    task = asyncio.tasks._swap_current_task(loop, None) if TASK_OF_THREAD else None  # noqa: SLF001 (no other way)
    asyncio._set_running_loop(None)  # noqa: SLF001 (documented for third-party event loops)
    return loop, task


def _return_to(loop: Any, task: Any) -> None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is loop:  # noqa: SLF001 (likewise)
        return
    asyncio._set_running_loop(loop)  # noqa: SLF001 (likewise)
    if loop is not None and TASK_OF_THREAD:
        asyncio.tasks._swap_current_task(loop, task)  # noqa: SLF001 (no other way)
