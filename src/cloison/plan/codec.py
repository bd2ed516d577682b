"""The bytes of a plan: what the launcher reads, and what lies in the run directory as the journal.

All numbers are little endian. One file is one plan:

    offset size
    0      4    "CLPN"
    4      4    version, 1
    8      4    size of the whole, in bytes
    12     4    number of steps
    16     4    number of undo steps
    20     4    flags: bit 0, report every step
    24     4    number of inherited descriptors: slots 0, 1, ...
    28     4    zero
    32     ...  the records of the steps, then those of the undo steps in the order in which they run

A record:

    0      2    kind (`Step.number`)
    2      1    0 host, 1 inside
    3      1    bit 0: optional, a failure is a warning; bit 1: final, runs only if every undo step before it succeeded
    4      4    size of the record, these eight bytes included; a multiple of 8
    8      ...  the fields of the kind, in the order of the table

A field:

    int hex oct slot out    8 bytes, signed
    text                    length (4), bytes, NUL; zeros up to a multiple of 8
    texts                   length (4), count (4), the items, each with its NUL; zeros up to a multiple of 8
    blob                    length (4), bytes; zeros up to a multiple of 8

Pure.
"""

import struct
from collections.abc import Callable, Iterator

from cloison.base.errors import Bug, Invalid
from cloison.plan.plan import Plan
from cloison.plan.steps import BY_NUMBER, KINDS, MAX_SLOTS, NO_SLOT, Step, Where, fields_of

MAGIC = b"CLPN"
VERSION = 1
MAX_SIZE = 1 << 20  # the launcher maps a plan whole; the largest real one is under 40 KiB
FLAG_VERBOSE = 1
RECORD_OPTIONAL = 1
RECORD_FINAL = 2

_HEADER = struct.Struct("<4s7I")
_RECORD = struct.Struct("<HBBI")
_NUMBER = struct.Struct("<q")
_LENGTH = struct.Struct("<I")
_TWO = struct.Struct("<II")
_PADDING = [b"\0" * (-n % 8) for n in range(8)]


def encode(plan: Plan, *, verbose: bool = False) -> bytes:
    """The plan as bytes. Raises Bug for a plan that the launcher would refuse by its size or its slots."""
    steps = [_record(action.step, action.where, RECORD_OPTIONAL if action.optional else 0) for action in plan.actions]
    undo = [_record(step, Where.HOST, RECORD_FINAL if final else 0) for step, final in plan.undo()]
    body = b"".join(steps + undo)
    size = _HEADER.size + len(body)
    if size > MAX_SIZE:
        raise Bug(f"the plan {plan.title!r} has {size} bytes, the launcher takes {MAX_SIZE}")
    flags = FLAG_VERBOSE if verbose else 0
    return _HEADER.pack(MAGIC, VERSION, size, len(steps), len(undo), flags, len(plan.inherited), 0) + body


def _number(value: int) -> bytes:
    return _NUMBER.pack(value - (1 << 64) if value >= 1 << 63 else value)


def _slot(value: int) -> bytes:
    if not NO_SLOT <= value < MAX_SLOTS:
        raise Bug(f"slot {value} is outside -1 to {MAX_SLOTS - 1}")
    return _NUMBER.pack(value)


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise Invalid(f"{value!r} contains a NUL byte, which no path and no argument can")
    return _LENGTH.pack(len(raw)) + raw + b"\0" + _PADDING[(len(raw) + 5) % 8]


def _texts(values: tuple[str, ...]) -> bytes:
    joined = "\0".join((*values, "")) if values else ""
    raw = joined.encode("utf-8", "surrogateescape")
    if raw.count(b"\0") != len(values):
        raise Invalid(f"one of {values!r} contains a NUL byte, which no argument can")
    return _TWO.pack(len(raw), len(values)) + raw + _PADDING[len(raw) % 8]


def _blob(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value + _PADDING[(len(value) + 4) % 8]


_ENCODERS: dict[str, Callable[..., bytes]] = {
    "int": _number,
    "hex": _number,
    "oct": _number,
    "slot": _slot,
    "out": _slot,
    "text": _text,
    "texts": _texts,
    "blob": _blob,
}
_LAYOUT = {cls: tuple((name, _ENCODERS[kind]) for name, kind in fields_of(cls)) for cls in KINDS}


def _record(step: Step, where: Where, flags: int) -> bytes:
    body = b"".join([encoder(getattr(step, name)) for name, encoder in _LAYOUT[type(step)]])
    return _RECORD.pack(step.number, where, flags, _RECORD.size + len(body)) + body


# --- back ------------------------------------------------------------------------------------------------


Decoded = tuple[Step, Where, int]


def decode(data: bytes) -> tuple[list[Decoded], list[Decoded]]:
    """The steps and the undo steps of an encoded plan, each as (step, where, flags).

    Raises Invalid with the byte offset for anything that `encode` does not write."""
    if len(data) < _HEADER.size:
        raise Invalid(f"a plan has at least {_HEADER.size} bytes, this one {len(data)}")
    magic, version, size, steps, undo, _flags, _inherited, _zero = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise Invalid(f"not a plan of version {VERSION}: it begins with {data[:8]!r}")
    if size != len(data):
        raise Invalid(f"the plan says that it has {size} bytes, it has {len(data)}")
    records = list(_records(data, steps + undo))
    return records[:steps], records[steps:]


def _records(data: bytes, count: int) -> Iterator[Decoded]:
    offset = _HEADER.size
    for _ in range(count):
        try:
            kind, where, flags, size = _RECORD.unpack_from(data, offset)
            cls = BY_NUMBER[kind]
            values, end = _fields(data, offset + _RECORD.size, cls)
        except (struct.error, KeyError, IndexError, UnicodeError) as problem:
            raise Invalid(f"the record at byte {offset} of the plan is damaged") from problem
        if end != offset + size:
            raise Invalid(f"the record at byte {offset} of the plan has {size} bytes, its fields {end - offset}")
        yield cls(*values), Where(where), flags
        offset = end
    if offset != len(data):
        raise Invalid(f"{len(data) - offset} bytes follow the last record of the plan")


def _fields(data: bytes, offset: int, cls: type[Step]) -> tuple[list[object], int]:
    values: list[object] = []
    for _name, kind in fields_of(cls):
        value, offset = _READERS[kind](data, offset)
        values.append(value)
    return values, offset


def _aligned(offset: int) -> int:
    return offset + (-offset % 8)


def _read_number(data: bytes, offset: int) -> tuple[int, int]:
    return _NUMBER.unpack_from(data, offset)[0], offset + 8


def _read_text(data: bytes, offset: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(data, offset)
    raw = _take(data, offset + 4, length)
    return raw.decode("utf-8", "surrogateescape"), _aligned(offset + 4 + length + 1)


def _read_texts(data: bytes, offset: int) -> tuple[tuple[str, ...], int]:
    length, count = _TWO.unpack_from(data, offset)
    raw = _take(data, offset + 8, length)
    items = tuple(item.decode("utf-8", "surrogateescape") for item in raw.split(b"\0")[:-1]) if count else ()
    if len(items) != count:
        raise IndexError(count)
    return items, _aligned(offset + 8 + length)


def _read_blob(data: bytes, offset: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(data, offset)
    return _take(data, offset + 4, length), _aligned(offset + 4 + length)


def _take(data: bytes, offset: int, length: int) -> bytes:
    if offset + length > len(data):
        raise IndexError(offset)
    return data[offset : offset + length]


_READERS: dict[str, Callable[[bytes, int], tuple[object, int]]] = {
    "int": _read_number,
    "hex": _read_number,
    "oct": _read_number,
    "slot": _read_number,
    "out": _read_number,
    "text": _read_text,
    "texts": _read_texts,
    "blob": _read_blob,
}
