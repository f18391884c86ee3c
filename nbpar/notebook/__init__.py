"""What nbpar adds to a notebook: `%%parallel_map` and `%nbpar`.

IPython is needed only once a shell loads this, and is imported only then.
"""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and let a local cluster start in the background; returns at once."""
    from nbpar import defaults
    from nbpar.notebook.extension import install

    install(shell, defaults)
    defaults.default_pool()  # what goes wrong there is said by the first map


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away and close the default pools."""
    from nbpar import defaults
    from nbpar.notebook.extension import uninstall

    uninstall(shell)
    defaults.close_default_pools()
