"""Compressed streams, known by their first bytes.

zlib and lzma are the standard library's; for zstd there is `zstandard`, the binding to the reference library, as
Python has none of its own before 3.14. Each gives at most a MiB at a time, so that a bomb has no room to burst.
Sources: RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format 1.2.1.
"""

import zlib
from collections.abc import Iterable, Iterator

from cloison.base.errors import CloisonError, Invalid
from cloison.images.tar.numbers import no_archive
from cloison.images.tar.source import truncated

OUT_BYTES = 1 << 20
_LOOK_BYTES = 512
_LONGEST_MAGIC = 6
_MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
)
_OTHERS = (
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"LZIP", "lzip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"\x5d\0\0", "lzma"),
)
_SKIPPABLE = tuple(bytes((0x50 + low,)) + b"\x2a\x4d\x18" for low in range(16))  # zstd's frames with no data


def kind_of(start: bytes) -> str:
    """What a stream that begins like this is: "tar", "gzip", "xz", "zstd", "bzip2", "squashfs", "ar", the name of one
    that is not understood in capitals, or "" for what nobody knows."""
    if start[257:262] == b"ustar" or (len(start) >= 512 and _is_old_tar(start[:512])):
        return "tar"
    for magic, name in _MAGICS:
        if start.startswith(magic):
            return name
    if start.startswith(_SKIPPABLE):
        return "zstd"
    if start.startswith((b"hsqs", b"sqsh")):
        return "squashfs"
    for magic, name in _OTHERS:
        if start.startswith(magic):
            return name.upper()
    return ""


def _is_old_tar(header: bytes) -> bool:
    """Whether this is a header of before 1988, which has no magic; or the zeros at an archive's end."""
    field = header[148:156].strip(b" \0")
    if not field:
        return not header.strip(b"\0")
    return field.isdigit() and int(field) < 10**7 and sum(header) - sum(header[148:156]) + 256 == int(field, 8)


def plain(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The uncompressed stream. Raises Invalid for a compression that is unknown, damaged or not ended."""
    stream = iter(chunks)
    start = b""
    for chunk in stream:
        start += chunk
        if len(start) >= _LOOK_BYTES:
            break
    kind = kind_of(start)
    if kind == "tar":
        yield start
        yield from (chunk for chunk in stream if chunk)
        return
    if kind in ("gzip", "xz", "zstd", "bzip2"):
        yield from _expanded(kind, start, stream)
        return
    if not start:
        raise truncated("it is empty")
    raise no_archive(start, f"it looks like {kind.lower()}" if kind else "")


def _expanded(kind: str, start: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    """What one or several runs hold: files of all these kinds may be put after each other."""
    data = start
    while data:
        run = _RUNS[kind]()
        while True:
            try:
                yield from run.feed(data)
            except CloisonError:
                raise
            except Exception as damage:  # each library has its own
                raise Invalid(
                    f"the archive's {kind} compression is damaged: {damage}", hint="copy it again"
                ) from damage
            if run.is_over:
                break
            following = next(stream, None)
            if following is None:
                raise truncated()
            data = following
        data = _after(kind, run.unused, stream)


def _after(kind: str, data: bytes, stream: Iterator[bytes]) -> bytes:
    """What follows a run: the beginning of the next one, or b"" where there are only zeros, as on tapes."""
    data = data.lstrip(b"\0")
    while len(data) < _LONGEST_MAGIC and (following := next(stream, None)) is not None:
        data = (data + following).lstrip(b"\0")
    if data and kind_of(data) != kind:
        raise Invalid(f"the archive's {kind} compression is followed by something else", hint="copy it again")
    return data


class _Run:
    """One run: fed with bytes, it gives what they hold, a MiB at a time."""

    is_over = False
    unused = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        raise NotImplementedError


class _Gzip(_Run):
    def __init__(self) -> None:
        self._run = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not self._run.eof:
            piece = self._run.decompress(data, OUT_BYTES)
            data = self._run.unconsumed_tail
            if piece:
                yield piece
            if self._run.eof:
                self.is_over, self.unused = True, self._run.unused_data
                return
            if not data and len(piece) < OUT_BYTES:
                return


class _Bounded(_Run):
    """lzma and bz2, which keep what they were fed until it is asked for."""

    def __init__(self, kind: str) -> None:
        import bz2
        import lzma

        self._run: lzma.LZMADecompressor | bz2.BZ2Decompressor
        # The memory limit is that of a dictionary of 256 MiB: xz -9 takes 64.
        self._run = lzma.LZMADecompressor(memlimit=300 << 20) if kind == "xz" else bz2.BZ2Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if piece := self._run.decompress(data, OUT_BYTES):
                yield piece
            data = b""
            if self._run.eof:
                self.is_over, self.unused = True, self._run.unused_data
                return
            if self._run.needs_input:
                return


class _Zstd(_Run):
    _IN_BYTES = 1 << 12  # four bytes may become 128 KiB, so a bomb takes 128 MiB at most

    def __init__(self) -> None:
        import zstandard

        self._run = zstandard.ZstdDecompressor(max_window_size=1 << 28).decompressobj(write_size=OUT_BYTES)

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), self._IN_BYTES):
            if piece := self._run.decompress(data[at : at + self._IN_BYTES]):
                yield from (piece[start : start + OUT_BYTES] for start in range(0, len(piece), OUT_BYTES))
            if self._run.eof:
                self.is_over = True
                self.unused = self._run.unused_data + data[at + self._IN_BYTES :]
                return


_RUNS = {"gzip": _Gzip, "xz": lambda: _Bounded("xz"), "bzip2": lambda: _Bounded("bzip2"), "zstd": _Zstd}
