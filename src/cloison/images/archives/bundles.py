"""Archives and directories of the OCI's and of Docker's form: documents that name layers.

A file is read twice: once for its index, then only what is needed of it. A stream is read once, and its manifest may
come last, as `docker save` writes it; so whatever may be a layer is unpacked when it comes by, and what turns out to
belong to no image is thrown away with the workspace. Either way no layer is written down packed.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Protocol

from cloison.base.errors import Invalid
from cloison.images.archives.files import chunks, index, part, plain_name
from cloison.images.compression import kind_of
from cloison.images.incoming import Incoming
from cloison.images.layout import Layer
from cloison.images.limits import Limits
from cloison.images.pipeline import expanded
from cloison.images.tar.member import Kind, Member
from cloison.images.tar.reading import Tar
from cloison.images.tar.source import Source, truncated
from cloison.kernel import paths

MAX_DOCUMENT = 16 << 20
_MOST_DOCUMENTS_BYTES = 128 << 20
_PACKED = ("tar", "gzip", "xz", "zstd", "bzip2")

Progress = Callable[[int], None]


class Bundle(Protocol):
    """Where documents and layers are, by the names that they have there: "index.json", "blobs/sha256/…"."""

    def document(self, name: str) -> bytes | None:
        """A document of at most 16 MiB; None for one that is not there."""

    def unpack(self, work: Incoming, name: str, diff_id: str, progress: Progress) -> Layer:
        """Unpack a layer. Raises Invalid for one that is not there, or another."""


class FileBundle:
    """An uncompressed archive in a file."""

    def __init__(self, fd: int, limits: Limits) -> None:
        self._fd = fd
        self._index = index(fd, limits)

    def document(self, name: str) -> bytes | None:
        place = self._place(name)
        return b"".join(part(self._fd, place[1], _small(name, place[0].size))) if place else None

    def unpack(self, work: Incoming, name: str, diff_id: str, progress: Progress) -> Layer:
        place = self._place(name)
        if place is None:
            raise _missing(name)
        return work.unpack(part(self._fd, place[1], place[0].size), diff_id=diff_id, progress=progress)

    def _place(self, name: str) -> tuple[Member, int] | None:
        """Where a file is. Docker before 25 wrote a layer that two images have once, and then links to it."""
        for _ in range(8):
            found = self._index.get(name)
            if found is None or found[0].kind is Kind.FILE:
                return found
            member = found[0]
            if member.kind is Kind.HARD_LINK:
                name = plain_name(member.link)
            elif member.kind is Kind.SYMLINK:
                name = os.path.normpath(os.path.join(os.path.dirname(name), os.fsdecode(member.link)))
            else:
                return None
        return None


class DirectoryBundle:
    """A directory of the OCI's layout."""

    def __init__(self, path: str) -> None:
        self._root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the directory."""
        os.close(self._root)

    def document(self, name: str) -> bytes | None:
        with self._opened(name) as fd:
            if fd is None:
                return None
            return b"".join(part(fd, 0, _small(name, os.fstat(fd).st_size)))

    def unpack(self, work: Incoming, name: str, diff_id: str, progress: Progress) -> Layer:
        with self._opened(name) as fd:
            if fd is None:
                raise _missing(name)
            return work.unpack(chunks(fd), diff_id=diff_id, progress=progress)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int | None]:
        try:
            fd = paths.open_beneath(self._root, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            yield None
            return
        try:
            yield fd
        finally:
            os.close(fd)


class StreamedBundle:
    """An archive that has gone by; see `streamed`."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.layers: dict[str, Layer] = {}

    def document(self, name: str) -> bytes | None:
        return self.documents.get(name)

    def unpack(self, work: Incoming, name: str, diff_id: str, progress: Progress) -> Layer:
        del progress
        layer = self.layers.get(name) or work.layer_of(diff_id)
        if layer is None:
            raise _missing(name)
        if layer.diff_id != diff_id:
            raise Invalid(
                f"the layer {name!r} is not what it should be: its digest is {layer.diff_id} instead of {diff_id}",
                hint="the archive was damaged or changed; get it again",
            )
        return layer


def streamed(work: Incoming, stream: Iterator[bytes], progress: Progress) -> StreamedBundle:
    """Read an archive once, and unpack into `work` what may be a layer of an image."""
    bundle = StreamedBundle()
    with expanded(stream, work.limits) as feed:
        source = Source(iter(feed))
        tar = Tar(source, lambda _piece: None, work.limits)
        for member in tar.members():
            end = source.position + member.size
            name = plain_name(member.name)
            progress(feed.taken_bytes)
            if member.kind is Kind.FILE and member.segments is None and member.size:
                _take(work, bundle, name, member.size, source)
            elif member.kind in (Kind.SYMLINK, Kind.HARD_LINK):
                _follow(bundle, name, member)
            source.skip(end - source.position)
            kept_bytes = sum(map(len, bundle.documents.values()))
            if kept_bytes > _MOST_DOCUMENTS_BYTES:
                raise Invalid("the archive has more documents than images have")
        if not tar.is_ended:
            raise truncated()
    return bundle


def _take(work: Incoming, bundle: StreamedBundle, name: str, size: int, source: Source) -> None:
    """Keep a document, or unpack what looks like a layer. A layer whose name is a known digest is passed over."""
    digits = os.path.basename(name)
    if len(digits) == 64 and not set(digits) - set("0123456789abcdef") and work.has_layer(f"sha256:{digits}"):
        return
    start = source.take(min(size, 512))
    rest = size - len(start)
    if kind_of(start) in _PACKED:
        pieces = (bytes(piece) for piece in source.pieces(rest))
        bundle.layers[name] = work.unpack(itertools.chain((start,), pieces), must_end=False)
    elif size <= MAX_DOCUMENT:
        bundle.documents[name] = start + source.take(rest)


def _follow(bundle: StreamedBundle, name: str, member: Member) -> None:
    target = os.fsdecode(member.link)
    if member.kind is Kind.SYMLINK:
        target = os.path.normpath(os.path.join(os.path.dirname(name), target))
    if target in bundle.layers:
        bundle.layers[name] = bundle.layers[target]


def _small(name: str, size: int) -> int:
    if size > MAX_DOCUMENT:
        raise Invalid(f"the document {name!r} of the archive is too large to be one: {size} bytes")
    return size


def _missing(name: str) -> Invalid:
    return Invalid(f"the archive lacks {name!r}, which its manifest names", hint="get the archive again")
