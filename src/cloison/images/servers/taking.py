"""From a simplestreams server into the store: metadata first, then the root filesystem, unpacked as it comes.

The digests of both are held against the list before the store takes the image over, and so is that of both in a row,
which is what LXD and Incus call the image's fingerprint. What has come of it before it broke off is not asked for
again: see `cloison.images.remains`.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from cloison.base.errors import Invalid, Remote
from cloison.images.archives import importing
from cloison.images.archives.wish import Wish
from cloison.images.image import Image
from cloison.images.incoming import Incoming
from cloison.images.layout import Layer
from cloison.images.remains import Part
from cloison.images.servers import memory
from cloison.images.servers.fetching import other_bytes
from cloison.images.servers.memory import Known
from cloison.images.servers.refusals import sent_by
from cloison.images.servers.simplestreams import Choice
from cloison.images.servers.streams import Streams
from cloison.images.store import ImageStore
from cloison.kernel import programs

Progress = Callable[[str, int, int | None], None]
MAX_METADATA_BYTES: Final = 16 << 20


def has_squashfs() -> bool:
    """Whether this host can read a squashfs, which is preferred: it is faster to expand than a tar by xz."""
    return programs.which("sqfs2tar") is not None


def take(store: ImageStore, streams: Streams, choice: Choice, wish: Wish, progress: Progress) -> Image:
    """Bring what was chosen into the store, unless it is there already; under the names of `wish`.

    Raises Remote, NotFound, Denied, Unsupported, NoSpace."""
    known = _known(store, choice, wish)
    if known is not None:
        return known
    what = f"{choice.product.names[0]} of {streams.name}"
    digest = f"sha256:{choice.rootfs.sha256.lower()}"
    with store.incoming(wish.limits, is_resumable=True) as work, sent_by(what):
        work.take_over((), (digest,))
        with contextlib.closing(work.part(digest, choice.rootfs.size)) as part:
            try:
                image = _unpacked(work, streams, choice, wish, progress, what, part)
            except Invalid:
                part.drop()  # what is wrong with it would be so the next time, too
                raise
            part.drop()
    for layer in store.layers_of(image):
        memory.remember(store.layers_dir, layer.diff_id, _mark(choice))
    return image


def _unpacked(
    work: Incoming, streams: Streams, choice: Choice, wish: Wish, progress: Progress, what: str, part: Part
) -> Image:
    count = _Count(choice.size_bytes, progress)
    hear: Progress = lambda stage, done, total: None if stage == "unpack" else progress(stage, done, total)  # noqa: E731
    if choice.metadata is None:
        chunks = streams.chunks(choice.rootfs, what=what, heard=count.add, part=part)
        (image,) = importing.streamed_in(work, chunks, wish, hear)
        return image
    if choice.metadata.size > MAX_METADATA_BYTES:
        raise Remote(f"the metadata of {what} have {choice.metadata.size} bytes, which is no metadata")
    metadata = b"".join(streams.chunks(choice.metadata, what=f"the metadata of {what}", heard=count.add))
    chunks = streams.chunks(choice.rootfs, what=what, heard=count.add, part=part)
    rootfs = _combined(metadata, chunks, choice.combined, what)
    return importing.split(work, iter((metadata,)), rootfs, wish, hear)


def _known(store: ImageStore, choice: Choice, wish: Wish) -> Image | None:
    """The image in the store, under the first of the names, that was made of these very files."""
    image = store.known(wish.names[0])
    if image is None:
        return None
    layers: tuple[Layer, ...] = store.layers_of(image)
    if not layers or not all(_mark(choice) in memory.recall(store.layers_dir, layer.diff_id) for layer in layers):
        return None
    for name in wish.names[1:]:
        image = store.tag(wish.names[0], name)
    return image


def _mark(choice: Choice) -> Known:
    return Known(f"sha256:{choice.combined or choice.rootfs.sha256}", choice.rootfs.size, "", "", "")


def _combined(metadata: bytes, chunks: Iterator[bytes], expected: str, what: str) -> Iterator[bytes]:
    """The same chunks. Raises Remote at their end where they do not belong to these metadata."""
    digest = hashlib.sha256(metadata)
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if expected and digest.hexdigest() != expected.lower():
        raise other_bytes("the server", f"metadata and root filesystem of {what} in a row", f"sha256:{expected}")


class _Count:
    """The bytes that have come of all files."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        self._done += count
        self._progress("fetch", self._done, self._total)
