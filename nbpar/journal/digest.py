"""Content digests of values, equal in every process for equal values.

Pickles are unsuitable: those of equal values differ with the order of a set, which is different
in every process, and with shared parts.  So values are decomposed as
pickle would do it, and the digests of their parts are combined.
"""

from __future__ import annotations

import copyreg
import io
import marshal
import threading
from collections.abc import Callable, Iterable
from hashlib import blake2b
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

from nbpar.core.text import text_of
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.journal.code import content, used_values
from nbpar.journal.sources import compiled, importable, own_modules
from nbpar.wire.shared import Shared

SIZE = 16
"""Bytes of a digest."""

PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None), type(...)})
"""Types that `marshal` describes completely, and equally in every process."""

_WITHOUT_VALUE = (type(threading.Lock()), type(threading.RLock()), io.IOBase)
"""Types whose content is ignored: locks and open files."""

_OF_THE_PLACE = frozenset({
    "__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__firstlineno__",
    "__static_attributes__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "_abc_impl", "__abstractmethods__",
})  # fmt: skip
"""Attributes of a class about its position, not its effect."""


class NoDigestError(Exception):
    """A value whose changes cannot be detected."""


def digest_of(value: Any) -> bytes:
    """Return the digest of a value.

    Raises:
        NoDigestError: it cannot be decomposed.
    """
    if type(value) in PLAIN:
        return _plain(value)
    try:
        return Digester().digest(value)
    except NoDigestError:
        raise
    except RecursionError as error:
        raise NoDigestError("it is nested too deeply") from error
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        raise NoDigestError(text_of(error) or type(error).__name__) from error


class Digester:
    """Digests of values that may share parts, or contain cycles."""

    def __init__(self) -> None:
        self._path: dict[int, int] = {}
        """Values that are being decomposed, each with its depth."""

        self._made: dict[int, tuple[bytes, Any]] = {}
        """Digests by identity; the value is kept alive, so that its identity stays unique."""

    def digest(self, value: Any) -> bytes:
        """Return the digest of a value; errors of decomposing it propagate."""
        if type(value) in PLAIN:
            return _plain(value)
        if (made := self._made.get(id(value))) is not None:
            return made[0]
        if (depth := self._path.get(id(value))) is not None:
            return _join("back", _plain(len(self._path) - depth))
        self._path[id(value)] = len(self._path)
        try:
            result = self._composite(value)
        finally:
            del self._path[id(value)]
        self._made[id(value)] = (result, value)
        return result

    def _composite(self, value: Any) -> bytes:
        kind = type(value)
        if (taker := _TAKERS.get(kind)) is not None:
            return taker(self, value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, property):
            return self._all("property", (value.fget, value.fset, value.fdel))
        if isinstance(value, (staticmethod, classmethod)):
            return self._all(kind.__name__, (value.__func__,))
        if isinstance(value, _WITHOUT_VALUE):
            return _join("type", kind.__qualname__.encode())
        if kind.__module__ == "numpy" and hasattr(value, "dtype") and not value.dtype.hasobject:
            return self._array(value)
        return self._reduced(value)

    def _all(self, tag: str, values: Iterable[Any]) -> bytes:
        return _join(tag, *map(self.digest, values))

    def _sequence(self, value: Any) -> bytes:
        if set(map(type, value)) <= PLAIN:
            return _join("plain", marshal.dumps(value, 2))
        return self._all(type(value).__name__, value)

    def _shared(self, value: Shared) -> bytes:
        return self.digest(value.value)

    def _dict(self, value: dict[Any, Any]) -> bytes:
        if set(map(type, value)) <= PLAIN and set(map(type, value.values())) <= PLAIN:
            return _join("plain", marshal.dumps(value, 2))
        return self._all("dict", (part for pair in value.items() for part in pair))

    def _set(self, value: Any) -> bytes:
        return _join(type(value).__name__, *sorted(map(self.digest, value)))

    def _proxy(self, value: Any) -> bytes:
        return self._dict(dict(value))

    def _array(self, value: Any) -> bytes:
        """A NumPy array or scalar of numbers, dates or records."""
        said = f"{type(value).__name__} {value.dtype.descr!r} {getattr(value, 'shape', ())!r}"
        name = blake2b(said.encode(), digest_size=SIZE)
        whole = value.shape and value.flags.c_contiguous
        name.update(value.reshape(-1).view("u1").data if whole else value.tobytes())
        return name.digest()

    def _code(self, value: CodeType) -> bytes:
        plain, constants = content(value)
        return _join("code", marshal.dumps(plain, 2), self._all("constants", constants))

    def _module(self, value: ModuleType) -> bytes:
        codes = [(name, self.digest(compiled(path))) for name, path in own_modules(value)]
        return _join("module", value.__name__.encode(), *(part for n, d in codes for part in (n.encode(), d)))

    def _function(self, value: FunctionType) -> bytes:
        if (module := importable(value)) is not None:
            return self._imported(module, value)
        parts = [part for name, used in used_values(value) for part in (_plain(name), self.digest(used))]
        return _join("function", self.digest(value.__code__), *parts)

    def _class(self, value: type) -> bytes:
        if (module := importable(value)) is not None:
            return self._imported(module, value)
        parts = [_plain(value.__qualname__), self._all("bases", value.__bases__)]
        for name, member in sorted(vars(value).items()):
            if name not in _OF_THE_PLACE:
                parts += [_plain(name), self._member(member)]
        return _join("class", *parts)

    def _member(self, member: Any) -> bytes:
        """Part of a class; internals that cannot be decomposed are compared by type."""
        try:
            return self.digest(member)
        except (TypeError, NoDigestError):
            return _join("type", type(member).__qualname__.encode())

    def _imported(self, module: ModuleType, value: Any) -> bytes:
        return _join("imported", value.__qualname__.encode(), self.digest(module))

    def _descriptor(self, value: Any) -> bytes:
        return _join("descriptor", value.__name__.encode())

    def _reduced(self, value: Any) -> bytes:
        """Other values, decomposed as in pickle."""
        reduced = _reduce(value)
        if isinstance(reduced, str):  # it is identified by name
            wrapped = getattr(value, "__wrapped__", None)
            home = importable(value) or importable(type(value))
            return self._all("named", (reduced, wrapped, home))
        function, arguments, state, items, pairs = (*reduced, *(None,) * 5)[:5]
        parts = [function, arguments, state, list(items or ()), [list(pair) for pair in pairs or ()]]
        return self._all("object", parts)


def _reduce(value: Any) -> Any:
    reducer = copyreg.dispatch_table.get(type(value))
    if reducer is not None:
        return reducer(value)
    if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None))):
        return value.__qualname__
    return value.__reduce_ex__(4)


def _plain(value: Any) -> bytes:
    return blake2b(marshal.dumps(value, 2), digest_size=SIZE).digest()


def _join(tag: str, *parts: bytes) -> bytes:
    name = blake2b(tag.encode(), digest_size=SIZE)
    for part in parts:
        name.update(b"%d:" % len(part))
        name.update(part)
    return name.digest()


_TAKERS: dict[type, Callable[[Digester, Any], bytes]] = {
    list: Digester._sequence,  # noqa: SLF001 (a table of its own methods)
    tuple: Digester._sequence,  # noqa: SLF001
    dict: Digester._dict,  # noqa: SLF001
    set: Digester._set,  # noqa: SLF001
    frozenset: Digester._set,  # noqa: SLF001
    MappingProxyType: Digester._proxy,  # noqa: SLF001
    CodeType: Digester._code,  # noqa: SLF001
    ModuleType: Digester._module,  # noqa: SLF001
    FunctionType: Digester._function,  # noqa: SLF001
    GetSetDescriptorType: Digester._descriptor,  # noqa: SLF001
    MemberDescriptorType: Digester._descriptor,  # noqa: SLF001
    Shared: Digester._shared,  # noqa: SLF001
}
