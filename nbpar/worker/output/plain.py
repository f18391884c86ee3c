"""Log records, warnings and displays as plain values that can be sent."""

from __future__ import annotations

import copy
import logging
from typing import Any

from nbpar.core.text import without_surrogates
from nbpar.wire.faults import Fault

WIDGET = "application/vnd.jupyter.widget-view+json"
"""A view of a widget that lives on the engine and cannot be shown elsewhere."""

STRAY = [
    ("nbpar.errors", "StrayExceptionWarning"), ("builtins", "RuntimeWarning"), ("builtins", "Warning")
]  # fmt: skip
"""The category of such warnings, with its bases."""

_PLAIN = (str, int, float, bool, type(None))

_NO_ATTRIBUTE = frozenset({"args", "exc_info", "msg", "message", "exc_text"})


def finished_record(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a record with its final text."""
    record = copy.copy(record)
    record.msg, record.args = _message(record), None
    return record


def plain_record(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record's attributes, as `logging.makeLogRecord` accepts them."""
    plain = {
        name: value if isinstance(value, _PLAIN) else repr(value)
        for name, value in vars(record).items()
        if name not in _NO_ATTRIBUTE
    }
    text = record.exc_text
    if record.exc_info and not text:
        text = logging.Formatter().formatException(record.exc_info)
    return {
        **plain,
        "msg": without_surrogates(_message(record)),
        "args": None,
        "exc_info": None,
        "exc_text": text,
    }


def plain_warning(
    message: Warning | str, category: type[Warning], filename: str, line: int
) -> dict[str, Any]:
    """Return the arguments of `warnings.showwarning` as plain data: category and its bases by name."""
    kinds = [(kind.__module__, kind.__qualname__) for kind in category.__mro__]
    return {"text": without_surrogates(str(message)), "kinds": kinds, "filename": filename, "line": line}


def plain_stray(fault: Fault) -> dict[str, Any]:
    """Return a warning about an exception outside of items."""
    filename, _, line, *_ = fault.frames[-1] if fault.frames else ("<worker>", "", 1)
    text = (
        f"{fault.kind}: {fault.message} was raised between two items and dropped; "
        "an earlier item has probably left a timer or a thread behind that raises it"
    )
    return {"text": text, "kinds": STRAY, "filename": filename, "line": line}


def plain_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Return the representations of a display that can be shown elsewhere."""
    shown = {kind: plain_value(value) for kind, value in data.items() if kind != WIDGET}
    return shown or {"text/plain": "<a widget, which items cannot show>"}


def plain_value(value: Any) -> Any:
    """Return a value of JSON as it is, or bytes; other values as their representation."""
    if isinstance(value, dict):
        return {str(key): plain_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    if type(value) is str:
        return without_surrogates(value)
    return value if type(value) in (*_PLAIN, bytes) else repr(value)


def as_text(kind: str, content: Any) -> tuple[str, str]:
    """Return a piece of output as text, with its stream."""
    if isinstance(content, str):
        return kind, content
    if kind == "log":
        entry = vars(content["record"]) if "record" in content else content
        return "stderr", without_surrogates(f"{entry['levelname']}:{entry['name']}:{entry['msg']}\n")
    if kind == "warning":
        where = f"{content['filename']}:{content['line']}"
        return "stderr", f"{where}: {content['kinds'][0][1]}: {content['text']}\n"
    return "stdout", f"{content['data'].get('text/plain', '')}\n" if content else ""


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 (a wrong format must not fail the item: logging would not)
        return f"{record.msg} (with arguments that do not fit it: {error})"
