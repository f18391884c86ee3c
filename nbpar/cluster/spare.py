"""A template that waits for a cluster to come, so that the cluster need not wait for it."""

from __future__ import annotations

import atexit
import os
import threading

from nbpar.cluster.limits import thread_limits
from nbpar.cluster.room import Settings
from nbpar.cluster.warm import Template, can_fork

_lock = threading.Lock()
_spare: Template | None = None


def warm() -> None:
    """Start a template in the background, for the next cluster; returns at once."""
    global _spare  # noqa: PLW0603 (one for each process, made on demand)
    if not can_fork():
        return
    with _lock:
        if _spare is None or not _usable(_spare):
            _spare = Template()
            atexit.register(_spare.close)


def cool() -> None:
    """End the template that waits, if one does."""
    template = _take()
    if template is not None:
        template.close()


def template_for(settings: Settings, engines: int) -> Template:
    """The template that waits, when it suits, else a new one; it is the caller's from now on."""
    if not settings.preload:
        template = _take()
        if template is not None:
            return template
    added = dict(settings.environment)
    limits = thread_limits(engines, {**os.environ, **added}) if settings.preload else {}
    return Template(settings.preload, {**limits, **added} if settings.preload else {})


def _take() -> Template | None:
    global _spare
    with _lock:
        template, _spare = _spare, None
    if template is None or not _usable(template):
        return None
    atexit.unregister(template.close)
    return template


def _usable(template: Template) -> bool:
    """Whether it runs and is ours: a fork of this process inherits the variable, not the template."""
    return template.alive and template.owner == os.getpid()
