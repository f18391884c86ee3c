"""Log records, warnings and displays as plain values, for the way to another process."""

from __future__ import annotations

import copy
import logging
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
"""A view of a widget that lives on the engine: nobody else can show it."""

_PLAIN = (str, int, float, bool, type(None))

_NO_ATTRIBUTE = frozenset({"args", "exc_info", "msg", "message", "exc_text"})


def finished_record(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a record whose text will not change any more."""
    record = copy.copy(record)
    record.msg, record.args = _message(record), None
    return record


def plain_record(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record's attributes, as `logging.makeLogRecord` takes them."""
    plain = {
        name: value if isinstance(value, _PLAIN) else repr(value)
        for name, value in vars(record).items()
        if name not in _NO_ATTRIBUTE
    }
    text = record.exc_text
    if record.exc_info and not text:
        text = logging.Formatter().formatException(record.exc_info)
    return {**plain, "msg": _message(record), "args": None, "exc_info": None, "exc_text": text}


def plain_warning(
    message: Warning | str, category: type[Warning], filename: str, line: int
) -> dict[str, Any]:
    """Return what `warnings.showwarning` needs to know, with the category and its bases by name."""
    kinds = [(kind.__module__, kind.__qualname__) for kind in category.__mro__]
    return {"text": str(message), "kinds": kinds, "filename": filename, "line": line}


def plain_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Return a display's representations that can be shown elsewhere."""
    shown = {kind: plain_value(value) for kind, value in data.items() if kind != WIDGET}
    return shown or {"text/plain": "<a widget, which items cannot show>"}


def plain_value(value: Any) -> Any:
    """Return a value of JSON as it is, or bytes; anything else as its representation."""
    if isinstance(value, dict):
        return {str(key): plain_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    return value if type(value) in (*_PLAIN, bytes) else repr(value)


def as_text(kind: str, content: Any) -> tuple[str, str]:
    """Return a piece of output as text, and the stream where it belongs."""
    if isinstance(content, str):
        return kind, content
    if kind == "log":
        entry = vars(content["record"]) if "record" in content else content
        return "stderr", f"{entry['levelname']}:{entry['name']}:{entry['msg']}\n"
    if kind == "warning":
        where = f"{content['filename']}:{content['line']}"
        return "stderr", f"{where}: {content['kinds'][0][1]}: {content['text']}\n"
    return "stdout", f"{content['data'].get('text/plain', '')}\n" if content else ""


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 (a wrong format must not fail the item: logging would not)
        return f"{record.msg} (with arguments that do not fit it: {error})"
