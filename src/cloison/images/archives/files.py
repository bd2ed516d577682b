"""Archives that are files: found out what they are, and read in pieces."""

import os
from collections.abc import Callable, Iterator

from cloison.base.errors import Invalid, NotFound
from cloison.images.compression import plain
from cloison.images.limits import Limits
from cloison.images.tar.member import Kind, Member
from cloison.images.tar.reading import Tar
from cloison.images.tar.source import Source, Truncated, truncated

READ_BYTES = 1 << 20
_LOOK_BYTES = 4 << 20  # of an archive that cannot be read twice: a first member's data may be long


def opened(path: str) -> int:
    """A descriptor of a file to read. Raises NotFound, and Invalid for what is no file."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as missing:
        raise NotFound(f"there is no file {path!r}", path=path) from missing
    except OSError as problem:
        raise Invalid(f"the file {path!r} cannot be read: {problem.strerror}", path=path) from problem


def chunks(fd: int) -> Iterator[bytes]:
    """What can be read from a descriptor from now on."""
    while chunk := os.read(fd, READ_BYTES):
        yield chunk


def part(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """`size` bytes of a file from `offset` on. Raises Truncated where they are not there."""
    while size:
        chunk = os.pread(fd, min(size, READ_BYTES), offset)
        if not chunk:
            raise truncated()
        offset += len(chunk)
        size -= len(chunk)
        yield chunk


class Seeking(Source):
    """A file, of which data that nobody wants are not read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size
        os.lseek(fd, 0, os.SEEK_SET)
        super().__init__(iter(lambda: os.read(fd, 1 << 16), b""))

    def skip(self, count: int) -> None:
        """Go on behind the next `count` bytes. Raises Truncated."""
        buffered = min(count, len(self._chunk) - self._at)
        self._at += buffered
        self.position += count
        if count > buffered:
            if self.position > self._size:
                raise truncated()
            os.lseek(self._fd, self.position, os.SEEK_SET)


def plain_name(name: bytes) -> str:
    """A member's name without "./" and "/" at its ends."""
    parts = [part for part in name.decode(errors="surrogateescape").split("/") if part not in ("", ".")]
    return "/".join(parts)


def index(fd: int, limits: Limits) -> dict[str, tuple[Member, int]]:
    """The members of an uncompressed archive by their names, each with where its data begin."""
    source = Seeking(fd)
    found: dict[str, tuple[Member, int]] = {}
    tar = Tar(source, _unheard, limits)
    for member in tar.members():
        found[plain_name(member.name)] = (member, source.position)
        source.skip(member.size)
    if not tar.is_ended:
        raise truncated()
    return found


def first_names(start: bytes, limits: Limits) -> list[str]:
    """The names of the members with which an archive begins; `start` may end anywhere."""
    source = Source(iter((start,)))
    names: list[str] = []
    try:
        for member in Tar(source, _unheard, limits).members():
            names.append(plain_name(member.name))
            source.skip(member.size)
    except Truncated:
        pass
    return [name for name in names if name]


def small_files(chunks: Iterator[bytes], limits: Limits, most_bytes: int = 1 << 20) -> dict[str, bytes]:
    """The files of a small archive, such as metadata. Raises Invalid for one that is not small."""
    source = Source(plain(chunks))
    found: dict[str, bytes] = {}
    total = 0
    for member in Tar(source, _unheard, limits).members():
        total += member.size
        if total > 16 * most_bytes or member.size > most_bytes:
            raise Invalid("the archive of metadata is too large to be one", hint="give the root file system separately")
        if member.kind is Kind.FILE and member.segments is None:
            found[plain_name(member.name)] = source.take(member.size)
        else:
            source.skip(member.size)
    return found


class Peeked:
    """A stream of which the beginning was looked at: `raw` is what was read, `start` that beginning uncompressed."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._raw: list[bytes] = []
        self.start = b""

    def look(self, is_enough: Callable[[bytes], bool] = lambda start: len(start) >= _LOOK_BYTES) -> bytes:
        """The first bytes of the uncompressed stream, 4 MiB or what there is."""
        pieces: list[bytes] = []
        for piece in plain(self._heard()):
            pieces.append(piece)
            if is_enough(b"".join(pieces)):
                break
        self.start = b"".join(pieces)
        return self.start

    def first(self) -> bytes:
        """The first bytes as they come."""
        while sum(map(len, self._raw)) < 512 and (chunk := next(self._stream, b"")):
            self._raw.append(chunk)
        return b"".join(self._raw)

    def chunks(self) -> Iterator[bytes]:
        """The whole stream; once."""
        while self._raw:
            yield self._raw.pop(0)
        yield from self._stream

    def _heard(self) -> Iterator[bytes]:
        yield from tuple(self._raw)
        for chunk in self._stream:
            self._raw.append(chunk)
            yield chunk


def _unheard(_piece: bytes) -> None:
    """Nobody needs the headers again."""
