"""The names that programs import from execnet's module of this name."""

from typing import Any

from nbpar.compat.execnet.channels import MultiChannel
from nbpar.compat.execnet.group import Group, default, makegateway, set_execmodel

__all__ = ["Group", "MultiChannel", "makegateway", "set_execmodel"]


def __getattr__(name: str) -> Any:
    if name == "default_group":  # created on first use
        return default()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
