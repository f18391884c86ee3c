"""The notebook extension: `%%parallel_map`, `%%channel` and `%nbpar`.

IPython is needed only once a shell loads this, and is imported only then.
"""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Register the magics and start a local cluster in the background, unless another is in use."""
    from nbpar.notebook.extension import install
    from nbpar.pool import defaults

    install(shell, defaults)
    if defaults.used_place() is None:
        defaults.default_pool()  # errors there are raised by the first map


def unload_ipython_extension(shell: Any) -> None:
    """Remove the magics and close the default pools."""
    from nbpar.notebook.extension import uninstall
    from nbpar.pool import defaults

    uninstall(shell)
    defaults.close_default_pools()
