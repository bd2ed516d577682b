"""What of a layer's stream is not in its files: headers, padding, and the order of things.

With it, the files of a layer give the same bytes again that were unpacked: the same diff id, and an image that keeps
its id when it is exported or pushed. A file that a later member replaced is kept beside the layer for that.

    layers/<hex>.skeleton     "cloison skeleton 1\\n", then in zlib's format:
                                0x00 <length> <bytes>                        these bytes
                                0x01 <offset> <length> <length> <path>       that part of the next file, below the layer
                                0x02 <offset> <length>                       one more part of the same file
                                0x03                                         the end
    layers/<hex>.kept/<n>     the file that was the n-th (from 0) with content, where it was replaced

Numbers are little-endian base 128 (LEB128).
"""

import os
import zlib
from collections.abc import Callable, Iterator

from cloison.base.errors import Host
from cloison.kernel import paths

MAGIC = b"cloison skeleton 1\n"
_BYTES, _FILE, _MORE, _END = b"\x00", b"\x01", b"\x02", b"\x03"
_FLUSH_BYTES = 1 << 18
_READ_BYTES = 1 << 20
_LEVEL = 1  # mostly zeros: higher levels take longer and save nothing worth it


class Writer:
    """Writes the skeleton of one layer to the descriptor `fd`; hears literal bytes from the reader of the archive, and
    contents from the unpacker. `aside` runs a function later, elsewhere, in order: compressing takes time."""

    def __init__(self, fd: int, kept_dir: str, aside: Callable[[Callable[[], None]], None]) -> None:
        self._fd = fd
        self._kept_dir = kept_dir
        self._aside = aside
        self._literals: list[bytes] = []
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._numbers: dict[bytes, int] = {}
        self._count = 0
        self._last: bytes | None = None
        self._pack = zlib.compressobj(_LEVEL)
        _write(fd, MAGIC)

    def literal(self, piece: bytes) -> None:
        """These bytes come next."""
        self._literals.append(piece)

    def content(self, path: bytes, offset: int, length: int) -> None:
        """Next comes what is in that file."""
        self._put_literals()
        if path == self._last:
            self._put(_MORE + number(offset) + number(length))
            return
        self._last = path
        self._numbers[path] = self._count
        self._count += 1
        self._put(_FILE + number(offset) + number(length) + number(len(path)) + path)

    def replaced(self, path: bytes) -> bytes | None:
        """Where a file that is about to be replaced is kept."""
        count = self._numbers.pop(path, None)
        if count is None:
            return None
        os.makedirs(self._kept_dir, mode=0o700, exist_ok=True)
        self._last = None
        return os.fsencode(f"{self._kept_dir}/{count}")

    def finish(self) -> None:
        """Write what is left. `aside` has to come to its end before the file is whole."""
        self._put_literals()
        self._put(_END)
        self._flush()
        self._aside(lambda: _write(self._fd, self._pack.flush()))

    def _put_literals(self) -> None:
        if self._literals:
            joined = b"".join(self._literals)
            self._literals.clear()
            self._put(_BYTES + number(len(joined)) + joined)

    def _put(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        joined = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._aside(lambda: _write(self._fd, self._pack.compress(joined)))


def assemble(skeleton: str, layer_dir: str, kept_dir: str) -> Iterator[bytes]:
    """The stream of a layer again. Raises Host where the skeleton is damaged, or a file is missing or too short."""
    root = os.open(layer_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = -1
    count = -1
    try:
        kept = frozenset(os.listdir(kept_dir)) if os.path.isdir(kept_dir) else frozenset()
        with open(skeleton, "rb") as file:
            parts = _Parts(file.read, skeleton)
            while (order := parts.take(1)) != _END:
                if order == _BYTES:
                    yield from parts.pieces(parts.number())
                    continue
                offset, length = parts.number(), parts.number()
                if order == _FILE:
                    count += 1
                    path = parts.take(parts.number())
                    if fd >= 0:
                        os.close(fd)
                        fd = -1
                    fd = _open(root, path, f"{kept_dir}/{count}" if str(count) in kept else "", skeleton)
                elif order != _MORE or fd < 0:
                    raise _damaged(skeleton)
                yield from _content(fd, offset, length, skeleton)
    finally:
        os.close(root)
        if fd >= 0:
            os.close(fd)


class _Parts:
    """The uncompressed records of a skeleton."""

    def __init__(self, read: Callable[[int], bytes], path: str) -> None:
        self._read = read
        self._path = path
        self._unpack = zlib.decompressobj()
        self._data = b""
        self._at = 0
        if read(len(MAGIC)) != MAGIC:
            raise _damaged(path)

    def take(self, count: int) -> bytes:
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        while count:
            if self._at == len(self._data):
                self._fill()
            piece = self._data[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise _damaged(self._path)

    def _fill(self) -> None:
        try:
            packed = self._unpack.unconsumed_tail or self._read(_FLUSH_BYTES)
            self._data, self._at = self._unpack.decompress(packed, _READ_BYTES), 0
            if not self._data and not packed:
                raise _damaged(self._path)
        except zlib.error as damage:
            raise _damaged(self._path) from damage


def _open(root: int, path: bytes, kept: str, skeleton: str) -> int:
    try:
        if kept:
            return os.open(kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return paths.open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as problem:
        raise Host(
            f"a layer of the image store is damaged: its file {os.fsdecode(path)!r} cannot be read: {problem.strerror}",
            hint="cloison image verify names the images that have it",
            path=skeleton,
        ) from problem


def _content(fd: int, offset: int, length: int, skeleton: str) -> Iterator[bytes]:
    while length:
        piece = os.pread(fd, min(length, _READ_BYTES), offset)
        if not piece:
            raise Host(
                "a layer of the image store is damaged: a file is shorter than it was",
                hint="cloison image verify names the images that have it",
                path=skeleton,
            )
        offset += len(piece)
        length -= len(piece)
        yield piece


def number(value: int) -> bytes:
    """A number in base 128, the lowest digit first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _write(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def _damaged(path: str) -> Host:
    return Host(
        f"the skeleton of a layer is damaged: {path}",
        hint="remove the images that have the layer, and import them again",
        path=path,
    )
