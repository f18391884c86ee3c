"""What nbpar adds to a notebook: `%%parallel_map` and `%nbpar`.

IPython is needed only once a shell loads this, and is imported only then.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and start warming up for a cluster; returns at once."""
    from nbpar import defaults
    from nbpar.cluster.spare import warm
    from nbpar.errors import ClusterError
    from nbpar.notebook.extension import install

    install(shell, defaults)
    with suppress(ClusterError):  # the first map says it where it matters
        warm()


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away; pools that run keep running."""
    from nbpar.cluster.spare import cool
    from nbpar.notebook.extension import uninstall

    uninstall(shell)
    cool()
