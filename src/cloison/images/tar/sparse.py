"""Sparse files: where in the file the data of a member belong.

Source: GNU tar manual, "Storing Sparse Files": the old GNU format (type S), PAX 0.0, 0.1 and 1.0.
"""

from collections.abc import Callable

from cloison.images.tar.member import Segment
from cloison.images.tar.numbers import damaged, decimal, number
from cloison.images.tar.pax import Extra, paired
from cloison.images.tar.source import Source

_BLOCK = 512
_ENTRY = 24  # an offset and a length, 12 bytes each
_MOST_SEGMENTS = 1 << 20


def old_gnu(header: bytes, source: Source, literal: Callable[[bytes], None]) -> tuple[tuple[Segment, ...], int]:
    """The segments and the length of a file of type S; blocks that continue its map are taken from `source`."""
    numbers = _fields(header[386:482])
    goes_on = header[482]
    while goes_on:
        block = source.take(_BLOCK)
        literal(block)
        numbers += _fields(block[:504])
        goes_on = block[504]
        if len(numbers) > 2 * _MOST_SEGMENTS:
            raise damaged("a sparse file has too many pieces")
    return paired(numbers), number(header[483:495])


def _fields(area: bytes) -> list[int]:
    numbers: list[int] = []
    for at in range(0, len(area), _ENTRY):
        if not area[at]:
            break
        numbers += (number(area[at : at + 12]), number(area[at + 12 : at + 24]))
    return numbers


def in_pax(extra: Extra) -> tuple[Segment, ...] | None:
    """The segments that PAX records name (0.0 and 0.1); None where they name none."""
    if extra.segments:
        return paired(extra.segments)
    if b"GNU.sparse.map" in extra.values:
        text = extra.values[b"GNU.sparse.map"]
        return paired([decimal(one) for one in text.split(b",")] if text else [])
    return None


def before_data(source: Source, literal: Callable[[bytes], None], size: int) -> tuple[tuple[Segment, ...], int]:
    """The segments that stand before the data (1.0), and the length of the data after them."""
    taken = 0
    rest = b""
    found: list[bytes] = []
    wanted = 1
    while len(found) < wanted:
        if taken >= size:
            raise damaged("the map of a sparse file is longer than the file")
        block = source.take(_BLOCK)
        literal(block)
        taken += _BLOCK
        *whole, rest = (rest + block).split(b"\n")
        found += whole
        if found and wanted == 1:
            wanted = 1 + 2 * decimal(found[0])
            if wanted > 2 * _MOST_SEGMENTS:
                raise damaged("a sparse file has too many pieces")
    return paired([decimal(one) for one in found[1:wanted]]), max(0, size - taken)


def check(segments: tuple[Segment, ...], size: int, file_size: int) -> None:
    """Raises Invalid for segments that overlap, leave the file, or hold another amount than the data."""
    end = total = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise damaged("the pieces of a sparse file overlap")
        end = offset + length
        total += length
    if end > file_size or total != size:
        raise damaged("the map of a sparse file does not fit its data")
