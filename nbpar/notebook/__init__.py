"""What nbpar adds to a notebook: `%%parallel_map` and `%nbpar`.

Only `load_ipython_extension` needs IPython, which it therefore imports itself.
"""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and start warming up a cluster; returns at once."""
    import nbpar.pool
    from nbpar.notebook.extension import install

    install(shell, nbpar.pool)
    nbpar.pool.warm()


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away; pools that run keep running."""
    from nbpar.notebook.extension import uninstall

    uninstall(shell)
