"""The members of an archive, one after the other.

    header 512 bytes, data, padding to 512; at the end two blocks of zeros, and whatever the program added

`literal` hears, in order, all bytes of the stream that are not data of a member: with the data put between them, they
are the stream again.
"""

import struct
from collections.abc import Callable, Iterator

from cloison.base.errors import Invalid
from cloison.images.limits import Limits, too_much
from cloison.images.tar import pax, sparse
from cloison.images.tar.member import Kind, Member
from cloison.images.tar.numbers import damaged, decimal, nanoseconds, no_archive, number, time_of
from cloison.images.tar.source import Source, truncated

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s")
_MOST_EXTRA = 1 << 20  # of a PAX header or a long name

_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
    b"D": Kind.DIRECTORY,  # GNU's, of incremental archives: the data are a list of names
}
_LONG = {b"L": b"path", b"K": b"linkpath"}


class Tar:
    """An archive that is read once. Whoever takes a member takes its data, `size` bytes, from `source` before the next.

    `is_ended` tells whether the mark of the end was there."""

    def __init__(self, source: Source, literal: Callable[[bytes], None], limits: Limits) -> None:
        self.source = source
        self.is_ended = False
        self._literal = literal
        self._limits = limits
        self._common = pax.Extra()

    def members(self) -> Iterator[Member]:
        """All members. Raises Invalid for what is damaged, truncated, of an unknown kind, or beyond the limits."""
        count = 0
        while (member := self._next()) is not None:
            count += 1
            if count > self._limits.entries:
                raise too_much("entries", self._limits.entries)
            end = self.source.position + member.size
            yield member
            if self.source.position != end:
                raise AssertionError("the data of a member were not taken")
            if padding := -member.size % _BLOCK:
                self._literal(self.source.take_padding(padding))
        for piece in self.source.rest():
            self._literal(piece)

    def _next(self) -> Member | None:
        """The next member, after the headers that only say more about it; None at the end."""
        extra: pax.Extra | None = None
        while True:
            header = self.source.take_or_end(_BLOCK)
            if not header:
                if extra is not None:
                    raise truncated()
                return None
            self._literal(header)
            if header == _ZEROS:
                self.is_ended = True
                return None
            fields = _HEADER.unpack(header)
            try:
                _check_sum(header, fields[6])
            except Invalid as damage:
                if self.source.position > _BLOCK or header[257:262] == b"ustar":
                    raise
                raise no_archive(header) from damage
            kind = fields[7]
            if kind in b"xXgLK":
                extra = self._said(kind, number(fields[4]), extra)
            elif kind == b"V":  # a label
                self._skip(number(fields[4]))
            else:
                return self._member(header, fields, extra or (self._common if self._has_common() else None))

    def _has_common(self) -> bool:
        return bool(self._common.values or self._common.xattrs)

    def _said(self, kind: bytes, size: int, extra: pax.Extra | None) -> pax.Extra | None:
        """What a header says about the next member, or about all others."""
        if not 0 <= size <= _MOST_EXTRA:
            raise too_much("a header's bytes", _MOST_EXTRA)
        data = self.source.take(size)
        self._literal(data)
        if padding := -size % _BLOCK:
            self._literal(self.source.take(padding))
        if kind == b"g":
            pax.add(data, self._common)
            return extra
        extra = extra or self._common.copied()
        if kind in _LONG:
            extra.values[_LONG[kind]] = data.rstrip(b"\0")
        else:
            pax.add(data, extra)
        return extra

    def _skip(self, size: int) -> None:
        for piece in self.source.pieces(size + -size % _BLOCK):
            self._literal(bytes(piece))

    def _member(self, header: bytes, fields: tuple[bytes, ...], extra: pax.Extra | None) -> Member:
        kind = _KINDS.get(fields[7])
        name = _name(header, fields)
        if kind is None:
            raise Invalid(f"{_shown(name)} is of a kind that cannot be unpacked: {fields[7]!r}")
        if kind is Kind.FILE and name.endswith(b"/"):
            kind = Kind.DIRECTORY  # before 1988 there was no other way to say so
        size = number(fields[4])
        member = Member(
            name=name,
            kind=kind,
            mode=number(fields[1]) & 0o7777,
            uid=number(fields[2]),
            gid=number(fields[3]),
            mtime_ns=time_of(number(fields[5])),
            size=size,
            file_size=size,
            link=fields[8].partition(b"\0")[0] if kind in (Kind.HARD_LINK, Kind.SYMLINK) else b"",
        )
        if kind in (Kind.CHARACTER, Kind.BLOCK):
            member.device = (number(fields[12]), number(fields[13]))
        if extra is not None:
            _apply(member, extra)
        if kind is not Kind.FILE:
            self._without_data(member, fields[7])
        elif fields[7] == b"S" or (extra is not None and _is_sparse(extra)):
            self._spread(member, header, fields[7], extra)
        self._check(member)
        return member

    def _without_data(self, member: Member, kind: bytes) -> None:
        """Only files have data; GNU's list of names is passed over. Others may name a size, which means nothing."""
        size = member.size if kind == b"D" else 0
        member.size = member.file_size = 0
        if size > 0:
            self._skip(size)

    def _spread(self, member: Member, header: bytes, kind: bytes, extra: pax.Extra | None) -> None:
        if kind == b"S":
            member.segments, member.file_size = sparse.old_gnu(header, self.source, self._literal)
        elif extra is not None:
            values = extra.values
            length = values.get(b"GNU.sparse.realsize") or values.get(b"GNU.sparse.size")
            member.segments = sparse.in_pax(extra)
            if member.segments is None:
                member.segments, member.size = sparse.before_data(self.source, self._literal, member.size)
                # What is padded is the map and the data together; as the map fills its blocks, so is the rest.
            member.file_size = decimal(length) if length else member.size
        assert member.segments is not None
        sparse.check(member.segments, member.size, member.file_size)

    def _check(self, member: Member) -> None:
        limits = self._limits
        if len(member.name) > limits.name_bytes or len(member.link) > limits.name_bytes:
            raise too_much("a name's bytes", limits.name_bytes)
        if member.size < 0 or member.file_size < 0:
            raise damaged(f"{_shown(member.name)} has a negative length")
        if member.file_size > limits.file_bytes:
            raise too_much("a file's bytes", limits.file_bytes)
        if b"\0" in member.name or b"\0" in member.link:
            raise damaged(f"{_shown(member.name)} has a name with a zero byte in it")


def _check_sum(header: bytes, field: bytes) -> None:
    """The sum of the header's bytes, its own field taken as blanks; some old programs took the bytes as signed."""
    wanted = number(field)
    if sum(header) - sum(field) + 256 == wanted:
        return
    signed = struct.unpack("512b", header)
    if sum(signed) - sum(signed[148:156]) + 256 != wanted:
        raise damaged("the sum of a header is wrong")


def _name(header: bytes, fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].partition(b"\0")[0]
    if fields[9][:6] == b"ustar\0" and fields[14][0]:
        prefix = fields[14][:131] if header[508:] == b"tar\0" else fields[14]  # star keeps times behind a shorter one
        return prefix.partition(b"\0")[0] + b"/" + name
    return name


def _apply(member: Member, extra: pax.Extra) -> None:
    values = extra.values
    member.name = values.get(b"GNU.sparse.name") or values.get(b"path") or member.name
    if member.kind in (Kind.HARD_LINK, Kind.SYMLINK):
        member.link = values.get(b"linkpath") or member.link
    if text := values.get(b"size"):
        member.size = member.file_size = decimal(text)
    if text := values.get(b"uid"):
        member.uid = decimal(text)
    if text := values.get(b"gid"):
        member.gid = decimal(text)
    if text := values.get(b"mtime"):
        member.mtime_ns = nanoseconds(text)
    member.xattrs = extra.xattrs


def _is_sparse(extra: pax.Extra) -> bool:
    return bool(extra.segments) or b"GNU.sparse.map" in extra.values or extra.values.get(b"GNU.sparse.major") == b"1"


def _shown(name: bytes) -> str:
    return repr(name.decode(errors="replace"))
