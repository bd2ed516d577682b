"""The form of an exported instance: sections in a stream, each with its digest, and one of the whole.

    "cloison-instance 1\\n"
    section, section, ...
        record                 a length (4 bytes, big-endian) and as many bytes of MessagePack: ["s", kind, about]
        part, part, ...        a length (4 bytes, big-endian) and as many bytes; a length of 0 ends them
        SHA-256 of the section, 32 bytes
    record ["e"]
    SHA-256 of all that is before it, 32 bytes

All of it may be compressed by zstd. `about` are texts. The kinds, in their order: see `cloison.engine.transfer`.
Who reads believes a section when its digest is right, and the stream when its own is. Pure but for zstd.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator

import msgspec

from cloison.base.errors import CloisonError, Invalid, Unsupported

NAME, VERSION = b"cloison-instance ", 1
MAGIC = NAME + b"%d\n" % VERSION
COMPRESSIONS = ("zstd", "none")
_ZSTD = b"\x28\xb5\x2f\xfd"
_LENGTH = struct.Struct(">I")
_DIGEST = 32
_PART = 1 << 20
_LONGEST_RECORD = 1 << 16
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[str, str, dict[str, str]]).decode
_END: list[object] = ["e", "", {}]


class Section(msgspec.Struct, frozen=True):
    """A part of an export: its kind, what is said of it, and its bytes."""

    kind: str
    about: dict[str, str]
    chunks: Iterable[bytes]


def encoded(sections: Iterable[Section], *, compression: str = "zstd") -> Iterator[bytes]:
    """The stream of sections. Raises Invalid for a compression that there is not."""
    if compression not in COMPRESSIONS:
        raise Invalid(f"there is no compression {compression!r}", hint=f"write one of {', '.join(COMPRESSIONS)}")
    plain = _encoded(sections)
    return _compressed(plain) if compression == "zstd" else plain


def _encoded(sections: Iterable[Section]) -> Iterator[bytes]:
    whole = hashlib.sha256()
    for chunk in _pieces(sections):
        whole.update(chunk)
        yield chunk
    yield whole.digest()


def _pieces(sections: Iterable[Section]) -> Iterator[bytes]:
    yield MAGIC
    for section in sections:
        digest = hashlib.sha256()
        for chunk in _section(section):
            digest.update(chunk)
            yield chunk
        yield digest.digest()
    yield _record(_END)


def _section(section: Section) -> Iterator[bytes]:
    fields: list[object] = ["s", section.kind, section.about]
    yield _record(fields)
    for chunk in section.chunks:
        for at in range(0, len(chunk), _PART):
            part = chunk[at : at + _PART]
            yield _LENGTH.pack(len(part)) + part
    yield _LENGTH.pack(0)


def _record(fields: list[object]) -> bytes:
    packed = _pack(fields)
    return _LENGTH.pack(len(packed)) + packed


def _compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    import zstandard

    run = zstandard.ZstdCompressor(level=3, threads=-1, write_checksum=True).compressobj()
    for chunk in chunks:
        if packed := run.compress(chunk):
            yield packed
    yield run.flush()


class Reader:
    """A stream that comes in. Raises Invalid, also at its very end, for what is cut off, damaged, or something else;
    Unsupported for what a newer cloison has made."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = _expanded(iter(chunks))
        self._rest = b""
        self._whole = hashlib.sha256()
        self._section = hashlib.sha256()
        self._is_open = False
        self._expect_magic()

    def sections(self) -> Iterator[Section]:
        """All of them; what of one has not been read when the next is asked for is passed over, and checked."""
        while True:
            self._section = hashlib.sha256()
            kind, name, about = self._record()
            if kind == "e":
                break
            if kind != "s":
                raise damaged("a record of it makes no sense")
            self._is_open = True
            parts = self._parts()
            yield Section(name, about, parts)
            for _part in parts:
                continue
        expected = self._whole.digest()
        if self._take(_DIGEST) != expected:
            raise damaged("its digest is another")
        if self._rest or next(self._chunks, b""):
            raise damaged("something comes after its end")

    def _parts(self) -> Iterator[bytes]:
        while self._is_open:
            (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
            if length > _PART:
                raise damaged("a part of it is too long")
            if length:
                yield self._take(length)
                continue
            self._is_open = False
            expected = self._section.digest()
            if self._take(_DIGEST) != expected:
                raise damaged("the digest of a section is another")

    def _record(self) -> tuple[str, str, dict[str, str]]:
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if length > _LONGEST_RECORD:
            raise damaged("a record of it is too long")
        try:
            return _unpack(self._take(length))
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise damaged(f"a record of it cannot be read: {problem}") from problem

    def _expect_magic(self) -> None:
        try:
            start = self._take(len(NAME))
        except Invalid as cut:
            raise Invalid(
                f"this is no exported instance, or only the beginning of one: {cut.sentence}",
                hint="copy it again; `cloison export` makes such a file",
            ) from cut
        if start != NAME:
            raise Invalid(
                "this is no exported instance",
                hint="`cloison export` makes such a file; images are imported by `cloison image import`",
            )
        number = b""
        while not number.endswith(b"\n") and len(number) < 8:
            number += self._take(1)
        if number.strip().isdigit() and int(number) > VERSION:
            raise Unsupported(
                f"the export has the form {int(number)}, and this cloison reads forms up to {VERSION}",
                hint="use a newer cloison here",
            )
        if number != MAGIC[len(NAME) :]:
            raise damaged("its first line makes no sense")

    def _take(self, count: int) -> bytes:
        pieces, missing = [], count
        while missing:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    raise damaged("it is cut off")
            piece, self._rest = self._rest[:missing], self._rest[missing:]
            pieces.append(piece)
            missing -= len(piece)
        taken = b"".join(pieces)
        self._whole.update(taken)
        self._section.update(taken)
        return taken


def damaged(why: str) -> Invalid:
    """The error for a stream that is none."""
    return Invalid(f"the export is damaged: {why}", hint="copy it again, or export the instance again")


def _expanded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The uncompressed stream, a MiB at a time at most."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_ZSTD):
            break
    if not start.startswith(_ZSTD):
        yield start
        yield from (chunk for chunk in chunks if chunk)
        return
    yield from _unpacked(start, chunks)


def _unpacked(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    run = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(write_size=_PART)
    feed: Callable[[bytes], bytes] = run.decompress
    try:
        for at in range(0, len(start), 1 << 16):
            if piece := feed(start[at : at + (1 << 16)]):
                yield piece
        for chunk in chunks:
            for at in range(0, len(chunk), 1 << 16):
                if run.eof:
                    raise damaged("something comes after its end")
                if piece := feed(chunk[at : at + (1 << 16)]):
                    yield piece
    except CloisonError:
        raise
    except zstandard.ZstdError as problem:
        raise damaged(f"its compression: {problem}") from problem
    if not run.eof:
        raise damaged("it is cut off")
    if run.unused_data:
        raise damaged("something comes after its end")
