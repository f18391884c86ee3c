"""`dumps` and `loads` in execnet's format (its version 2): exact built-ins, nothing that runs code.

A dump is a program for a stack: opcodes of one byte, numbers big-endian, lengths in four bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import IO, Any

VERSION = b"\x02"
"""First bytes of a dump."""

INT4 = struct.Struct("!i")
FLOAT = struct.Struct("!d")
COMPLEX = struct.Struct("!dd")

STOP, NEW_LIST, NEW_DICT, SET_ITEM = b"Q", b"K", b"J", b"P"
COLLECTIONS: dict[type, bytes] = {tuple: b"@", set: b"O", frozenset: b"E"}
INTS, LONG_INTS = (b"F", b"G"), (b"H", b"I")
BYTES, TEXT, UNICODE, OLD_STRING = b"A", b"N", b"S", b"M"

Write = Callable[[bytes], object]


class DataFormatError(Exception):
    """Base of the errors of these functions."""


class DumpError(DataFormatError):
    """An object is not of a simple type."""


class LoadError(DataFormatError):
    """The bytes are not a valid dump."""


def dumps(obj: object) -> bytes:
    """Return an object of simple types as bytes."""
    out = io.BytesIO()
    dump(out, obj)
    return out.getvalue()


def loads(bytestring: bytes, py2str_as_py3str: bool = False, py3str_as_py2str: bool = False) -> Any:
    """Reverse `dumps`.

    Args:
        bytestring: the result of `dumps`, also of execnet's.
        py2str_as_py3str: return strings of Python 2 as str, not as bytes.
        py3str_as_py2str: return str as bytes.
    """
    return load(io.BytesIO(bytestring), py2str_as_py3str, py3str_as_py2str)


def dump(byteio: IO[bytes], obj: object) -> None:
    """Write an object of simple types to a file."""
    byteio.write(VERSION)
    _write(byteio.write, obj)
    byteio.write(STOP)


def dumps_internal(obj: object) -> bytes:
    """Like `dumps`, without the version."""
    return dumps(obj)[len(VERSION) :]


def loads_internal(bytestring: bytes) -> Any:
    """Reverse `dumps_internal`."""
    return Unserializer(io.BytesIO(bytestring)).load()


def load(io: IO[bytes], py2str_as_py3str: bool = False, py3str_as_py2str: bool = False) -> Any:
    """Read the output of `dump`."""
    try:
        return Unserializer(io, strconfig=(py2str_as_py3str, py3str_as_py2str)).load(versioned=True)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"not a dump: {error}") from error


def _write(write: Write, obj: Any) -> None:
    writer = _WRITERS.get(type(obj))
    if writer is None:
        raise DumpError(f"can't serialize {type(obj)}")
    writer(write, obj)


def _write_int(write: Write, number: int) -> None:
    if -(1 << 31) <= number < 1 << 31:
        write(INTS[0])
        write(INT4.pack(number))
    else:
        write(LONG_INTS[0])
        _write_sized(write, b"%d" % number)


def _write_text(write: Write, text: str) -> None:
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise DumpError("strings must be utf-8 encodable") from error
    write(TEXT)
    _write_sized(write, encoded)


def _write_bytes(write: Write, value: bytes) -> None:
    write(BYTES)
    _write_sized(write, value)


def _write_list(write: Write, items: list[Any]) -> None:
    write(NEW_LIST)
    _write_length(write, items)
    for place, item in enumerate(items):
        _write_entry(write, place, item)


def _write_dict(write: Write, entries: dict[Any, Any]) -> None:
    write(NEW_DICT)
    for key, value in entries.items():
        _write_entry(write, key, value)


def _write_entry(write: Write, key: Any, value: Any) -> None:
    _write(write, key)
    _write(write, value)
    write(SET_ITEM)


def _write_collection(write: Write, items: Any) -> None:
    for item in items:
        _write(write, item)
    write(COLLECTIONS[type(items)])
    _write_length(write, items)


def _write_sized(write: Write, value: bytes) -> None:
    _write_length(write, value)
    write(value)


def _write_length(write: Write, value: Any) -> None:
    if len(value) >= 1 << 31:
        raise DumpError(
            f"a {type(value).__name__} of {len(value)} is too long: a dump has four bytes for that"
        )
    write(INT4.pack(len(value)))


_WRITERS: dict[type, Callable[[Write, Any], object]] = {
    type(None): lambda write, _: write(b"L"),
    bool: lambda write, value: write(b"R" if value else b"C"),
    int: _write_int,
    float: lambda write, value: write(b"D" + FLOAT.pack(value)),
    complex: lambda write, value: write(b"T" + COMPLEX.pack(value.real, value.imag)),
    bytes: _write_bytes,
    str: _write_text,
    list: _write_list,
    dict: _write_dict,
    **dict.fromkeys(COLLECTIONS, _write_collection),
}


class Unserializer:
    """Reads one dump; the name and signature are execnet's."""

    def __init__(
        self, stream: IO[bytes], channel_or_gateway: object = None, strconfig: tuple[bool, bool] | None = None
    ) -> None:
        if channel_or_gateway is not None:
            raise TypeError("channels travel in messages here, not in dumps")
        self._stream = stream
        self._old_as_text, self._text_as_bytes = strconfig or (True, False)
        self._stack: list[Any] = []

    def load(self, versioned: bool = False) -> Any:
        """Read the dump; with its version, if it has one."""
        if versioned and (version := self._read(1)) != VERSION:
            raise LoadError(f"a dump of version {version!r}, not of execnet's {VERSION!r}")
        while (opcode := self._read(1)) != STOP:
            reader = self._READERS.get(opcode)
            if reader is None:
                raise LoadError(f"unknown opcode {opcode!r}: the dump is damaged")
            reader(self, opcode)
        (result,) = self._stack
        return result

    def _read(self, size: int) -> bytes:
        if size < 0 or len(data := self._stream.read(size)) < size:
            raise LoadError("the dump ends too early")
        return data

    def _read_int4(self) -> int:
        number: int = INT4.unpack(self._read(4))[0]
        return number

    def _constant(self, opcode: bytes) -> None:
        self._stack.append({b"L": None, b"R": True, b"C": False}[opcode])

    def _int(self, opcode: bytes) -> None:
        number = self._read_int4()
        self._stack.append(int(self._read(number)) if opcode in LONG_INTS else number)

    def _float(self, _: bytes) -> None:
        self._stack.append(FLOAT.unpack(self._read(FLOAT.size))[0])

    def _complex(self, _: bytes) -> None:
        self._stack.append(complex(*COMPLEX.unpack(self._read(COMPLEX.size))))

    def _string(self, opcode: bytes) -> None:
        value: Any = self._read(self._read_int4())
        as_bytes = {TEXT: self._text_as_bytes, OLD_STRING: not self._old_as_text, BYTES: True, UNICODE: False}
        encoding = "latin-1" if opcode == OLD_STRING else "utf-8"
        self._stack.append(value if as_bytes[opcode] else value.decode(encoding))

    def _list(self, _: bytes) -> None:
        self._stack.append([None] * self._read_int4())

    def _dict(self, _: bytes) -> None:
        self._stack.append({})

    def _entry(self, _: bytes) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._stack[-1][key] = value

    def _collection(self, opcode: bytes) -> None:
        length = self._read_int4()
        start = len(self._stack) - length
        if length < 0 or start < 0:
            raise LoadError("a collection with more items than there are: the dump is damaged")
        kind = next(kind for kind, code in COLLECTIONS.items() if code == opcode)
        self._stack[start:] = [kind(self._stack[start:])]

    _READERS: dict[bytes, Callable[[Unserializer, bytes], None]] = {  # noqa: RUF012 (never changed)
        **dict.fromkeys((b"L", b"R", b"C"), _constant),
        **dict.fromkeys((*INTS, *LONG_INTS), _int),
        **dict.fromkeys((BYTES, TEXT, UNICODE, OLD_STRING), _string),
        **dict.fromkeys(COLLECTIONS.values(), _collection),
        b"D": _float, b"T": _complex, NEW_LIST: _list, NEW_DICT: _dict, SET_ITEM: _entry,
    }  # fmt: skip
