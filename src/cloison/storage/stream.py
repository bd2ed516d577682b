"""A tree as a stream of bytes, the same for every driver: what is sent by one is received by another.

    "cloison-tree 1\\n"
    record, record, ...        a length (4 bytes, big-endian) and as many bytes of MessagePack: an array
        ["h", base]            first: what the entries are to be put upon; see `Base`
        ["d", path, about, is_opaque]
        ["f", path, about, size]   and its parts: offset (8 bytes), length (4 bytes), bytes; a length of 0 ends them
        ["l", path, about, target]
        ["n", path, about, device]
        ["s", path, first]     another name of a file that came before
        ["w", path]            nothing is there any more
        ["e"]                  last
    SHA-256 of all that, 32 bytes

`about` is [mode, uid, gid, mtime_ns, {name: value} of extended attributes]. Paths are bytes, relative, and have no
`..`. A directory comes before what is in it. Who receives believes nothing before the digest is right: until then the
tree is one that no record mentions.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from cloison.base.errors import Invalid
from cloison.kernel import files
from cloison.storage.copying import about
from cloison.storage.driver import Tree
from cloison.storage.scanning import Item, Kind
from cloison.storage.writing import About, Writer

MAGIC = b"cloison-tree 1\n"
_LENGTH = struct.Struct(">I")
_PART = struct.Struct(">QI")
_CHUNK = 1 << 20
_LONGEST_RECORD = 1 << 24
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode


class Base(Enum):
    """What a stream's entries are to be put upon: nothing, the layers of an image, or another tree."""

    NOTHING = "nothing"
    LAYERS = "layers"
    TREE = "tree"


class Remembered(NamedTuple):
    """A directory that was looked at earlier."""

    path: str
    kind: Kind
    stat: os.stat_result
    known: dict[str, bytes]
    is_opaque: bool = False

    def attributes(self) -> dict[str, bytes]:
        """Its extended attributes."""
        return self.known


def encode(base: Base, items: Iterable[Item | Remembered]) -> Iterator[bytes]:
    """The stream of these entries."""
    digest = hashlib.sha256()
    for chunk in _encode(base, items):
        digest.update(chunk)
        yield chunk
    yield digest.digest()


def only_changed(found: Iterable[tuple[str, Item]]) -> Iterator[Item | Remembered]:
    """Of what `scanning.delta` gives, the entries that are to be sent: what is different, and the directories on the
    way there, which may have to be made."""
    waiting: dict[str, tuple[os.stat_result, dict[str, bytes]]] = {}
    for what, item in found:
        if what == "":
            waiting[item.path] = (item.stat, item.attributes())
            continue
        for above in _above(item.path):
            if above in waiting:
                yield Remembered(above, Kind.DIRECTORY, *waiting.pop(above))
        yield item


def _above(path: str) -> list[str]:
    """The directories that a path leads through, the root first."""
    parts = path.split("/")
    return [""] * bool(path) + ["/".join(parts[:count]) for count in range(1, len(parts))]


def _encode(base: Base, items: Iterable[Item | Remembered]) -> Iterator[bytes]:
    yield MAGIC
    yield _record("h", base.value)
    first: dict[tuple[int, int], str] = {}
    for item in items:
        yield from _entry(item, first)
    yield _record("e")


def _record(*fields: object) -> bytes:
    packed = _pack(fields)
    return _LENGTH.pack(len(packed)) + packed


def _entry(item: Item | Remembered, first: dict[tuple[int, int], str]) -> Iterator[bytes]:
    path = os.fsencode(item.path)
    if item.kind is Kind.WHITEOUT:
        yield _record("w", path)
        return
    if item.kind is Kind.DIRECTORY:
        yield _record("d", path, about(item), item.is_opaque)
        return
    assert isinstance(item, Item)
    if item.stat.st_nlink > 1:
        known = first.setdefault((item.stat.st_dev, item.stat.st_ino), item.path)
        if known != item.path:
            yield _record("s", path, os.fsencode(known))
            return
    match item.kind:
        case Kind.FILE:
            yield _record("f", path, about(item), item.stat.st_size)
            yield from _content(item)
        case Kind.LINK:
            yield _record("l", path, about(item), os.fsencode(item.target()))
        case _:
            yield _record("n", path, about(item), item.stat.st_rdev)


def _content(item: Item) -> Iterator[bytes]:
    fd = item.opened()
    try:
        for begin, length in files.extents(fd, item.stat.st_size):
            at, end = begin, begin + length
            while at < end:
                data = os.pread(fd, min(_CHUNK, end - at), at)
                if not data:
                    break
                yield _PART.pack(at, len(data)) + data
                at += len(data)
    finally:
        os.close(fd)
    yield _PART.pack(0, 0)


class Reader:
    """A stream that is being received."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self._digest = hashlib.sha256()
        if self._take(len(MAGIC)) != MAGIC:
            raise damaged("it does not begin as such a stream does")
        kind, *fields = self._next()
        if kind != "h" or len(fields) != 1 or fields[0] not in {base.value for base in Base}:
            raise damaged("its first record says something else than what it is to be put upon")
        self.base = Base(fields[0])

    def into(self, writer: Writer) -> None:
        """Write all of it. Raises Invalid for a stream that is cut off or damaged, also at its very end."""
        handlers: dict[str, Callable[..., None]] = {
            "d": lambda path, meta, is_opaque: writer.directory(_path(path), _about(meta), is_opaque=bool(is_opaque)),
            "f": lambda path, meta, size: writer.file(
                _path(path, "f"), _about(meta), int(size), self._parts(int(size))
            ),
            "l": lambda path, meta, target: writer.link(_path(path, "l"), _about(meta), os.fsdecode(target)),
            "n": lambda path, meta, device: writer.node(_path(path, "n"), _about(meta), int(device)),
            "s": lambda path, first: writer.same(_path(path, "s"), _path(first, "s")),
            "w": lambda path: writer.nothing(_path(path, "w")),
        }
        while True:
            kind, *fields = self._next()
            if kind == "e":
                break
            try:
                handlers[kind](*fields)
            except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as problem:
                raise damaged(f"a record of it makes no sense: {problem}") from problem
            except (FileNotFoundError, NotADirectoryError) as problem:
                raise damaged(f"an entry is in a directory that did not come before it: {problem}") from problem
        expected = self._digest.digest()
        if self._take(32) != expected:
            raise damaged("its digest is another")
        writer.finish()

    def _parts(self, size: int) -> Iterator[tuple[int, bytes]]:
        while True:
            offset, length = _PART.unpack(self._take(_PART.size))
            if length == 0:
                return
            if length > _CHUNK or offset + length > size:
                raise damaged("a part of a file lies behind its end")
            yield offset, self._take(length)

    def _next(self) -> list[Any]:
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if length > _LONGEST_RECORD:
            raise damaged("a record of it is too long")
        try:
            record = _unpack(self._take(length))
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise damaged(f"a record of it cannot be read: {problem}") from problem
        if not record or not isinstance(record[0], str):
            raise damaged("a record of it is empty")
        return record

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise damaged("it is cut off")
            self._rest += chunk
        taken, self._rest = self._rest[:count], self._rest[count:]
        self._digest.update(taken)
        return taken


def expected_below(base: Base, lower: tuple[str, ...], since: Tree | None) -> tuple[str, ...]:
    """What is below the tree that a stream describes: directories and names. Raises Invalid."""
    if base is Base.TREE:
        if since is None:
            raise Invalid("the stream says only what has changed", hint="receive first what it was made since")
        return (since.name, *since.lower)
    if since is not None:
        raise Invalid("the stream is a whole tree, and no change of another")
    return lower if base is Base.LAYERS else ()


def damaged(why: str) -> Invalid:
    """The error for a stream that is none."""
    return Invalid(f"the stream of files is damaged: {why}", hint="send it again")


def _path(given: bytes, kind: str = "d") -> str:
    path = os.fsdecode(given)
    if (path == "" and kind == "d") or (path and not {"", ".", ".."}.intersection(path.split("/"))):
        return path
    raise damaged(f"an entry has the path {path!r}")


def _about(given: object) -> About:
    return msgspec.convert(given, About)
