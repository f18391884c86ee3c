"""Limits of open files and sockets: how many are left, and more of them."""

from __future__ import annotations

from pathlib import Path

MOST_DESCRIPTORS = 65536
"""Number that a process allows itself which serves the connections of many engines."""


def free_descriptors() -> int | None:
    """Number of files and sockets that this process may still open, None if unknown."""
    try:
        import resource

        used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except (ImportError, OSError):
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit - used


def allowed_descriptors(*, hard: bool) -> int | None:
    """Number of files that a child may open, None: unlimited; `hard`: for one that raises its own limit."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[hard]
    return None if limit == resource.RLIM_INFINITY else limit


def raise_descriptor_limit(wanted: int = MOST_DESCRIPTORS) -> None:
    """Let this process open as many files and sockets, or as many as it is allowed to.

    Raises:
        OSError, ValueError: the system refuses.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
