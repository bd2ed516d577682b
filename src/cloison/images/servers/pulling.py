"""From a registry into the store: manifest, config, and the layers that are not there yet, several at once.

Nothing counts before all of it has come and was held against its digests: the manifest's, the blobs', and those of the
unpacked streams that the config names. A layer that the store has already is not asked for, and neither is what an
earlier pull has brought that was broken off: finished layers, and the beginnings of others (`cloison.images.remains`).
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Final

import msgspec

from cloison.base.errors import CloisonError, Invalid, Remote, Unsupported
from cloison.images import oci
from cloison.images.image import Image
from cloison.images.layout import Layer
from cloison.images.remains import Part
from cloison.images.servers import manifests, memory
from cloison.images.servers.fetching import fetched
from cloison.images.servers.manifests import Blob, Manifest
from cloison.images.servers.memory import Known
from cloison.images.servers.platforms import Platform, suits
from cloison.images.servers.references import Reference
from cloison.images.servers.refusals import sent_by
from cloison.images.servers.registry import Document, Registry
from cloison.images.store import ImageStore

if TYPE_CHECKING:
    from cloison.images.incoming import Incoming

Progress = Callable[[str, int, int | None], None]
MAX_CONFIG_BYTES: Final = 4 << 20
_AT_ONCE: Final = 3  # layers, as with Docker: more would only compete for the same two ends


class Pull(msgspec.Struct, frozen=True):
    """What is to be pulled: from the first of `sources` that has it, the last one being the registry itself."""

    reference: Reference
    sources: tuple[Registry, ...]
    platform: Platform
    names: tuple[str, ...]


def pull(store: ImageStore, order: Pull, progress: Progress) -> Image:
    """Bring an image into the store, under its names.

    Raises Invalid for a name, NotFound, Denied, Remote, Unsupported, NoSpace."""
    what = str(order.reference)
    progress("ask", 0, None)
    order, manifest = _manifest(order, what)
    document = _config(order, manifest.config, what)
    with sent_by(what):
        there, diff_ids, facts = oci.platform_of(document), oci.diff_ids_of(document), oci.facts_of(document)
    if not suits(order.platform, there):
        raise Unsupported(
            f"{what} is for {there}, and not for {order.platform}",
            hint=f"--platform {there} takes it all the same; to run it, this host has to emulate it",
        )
    if len(diff_ids) != len(manifest.layers):
        raise Remote(f"the config of {what} names {len(diff_ids)} layers, its manifest {len(manifest.layers)}")
    with store.incoming(is_resumable=True) as work:
        layers = _layers(work, order, manifest, diff_ids, progress)
        progress("store", 0, None)
        image = work.finish(document, msgspec.structs.replace(facts, names=order.names, source=what), layers)
    for layer, blob in zip(layers, manifest.layers, strict=True):
        compression = manifests.LAYERS[blob.media_type]
        seen = Known(blob.digest, blob.size, compression, order.reference.host, order.reference.repository)
        memory.remember(store.layers_dir, layer.diff_id, seen)
    return image


def _manifest(order: Pull, what: str) -> tuple[Pull, Manifest]:
    """The manifest for the platform, from the first source that has it; those before are not asked for the rest."""
    for number, source in enumerate(order.sources[:-1]):
        with contextlib.suppress(CloisonError):  # a mirror need not have everything, nor be there
            found = _manifest_from(source, order, what)
            return msgspec.structs.replace(order, sources=order.sources[number:]), found
    return msgspec.structs.replace(order, sources=order.sources[-1:]), _manifest_from(order.sources[-1], order, what)


def _manifest_from(source: Registry, order: Pull, what: str) -> Manifest:
    repository = order.reference.repository
    found: Document = source.manifest(repository, order.reference.wanted, what=what)
    if found.kind in manifests.LISTS:
        entry = manifests.chosen(found.content, order.platform, what=what)
        manifests.check_digest(entry.digest, what=what)
        found = source.manifest(repository, entry.digest, what=what)
        if found.kind in manifests.LISTS:
            raise Remote(f"{what} is a list of lists of platforms, which nothing makes")
    return manifests.manifest(found.content, found.kind, what=what)


def _config(order: Pull, blob: Blob, what: str) -> bytes:
    if blob.size > MAX_CONFIG_BYTES:
        raise Remote(f"the config of {what} has {blob.size} bytes, more than the {MAX_CONFIG_BYTES} that are read")
    return b"".join(_blob(order, blob, f"the config of {what}", lambda _count: None))


def _blob(
    order: Pull, blob: Blob, what: str, heard: Callable[[int], None], part: Part | None = None
) -> Iterator[bytes]:
    sources = tuple(source.source(order.reference.repository, blob, what=what) for source in order.sources)
    http = order.sources[-1].http
    return fetched(sources, blob.size, blob.digest, what=what, http=http, heard=heard, part=part)


def _layers(
    work: "Incoming", order: Pull, manifest: Manifest, diff_ids: tuple[str, ...], progress: Progress
) -> tuple[Layer, ...]:
    """All layers, the lowest first: those that are missing are fetched and unpacked."""
    blobs = dict(zip(diff_ids, manifest.layers, strict=True))
    wanted = [diff_id for diff_id in blobs if not work.has_layer(diff_id)]
    work.take_over(wanted, [blobs[diff_id].digest for diff_id in wanted])
    layers = {diff_id: known for diff_id in blobs if (known := work.layer_of(diff_id)) is not None}
    missing = {diff_id: blob for diff_id, blob in blobs.items() if diff_id not in layers}
    count = _Count(sum(blob.size for blob in missing.values()), progress)
    http = order.sources[-1].http
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cloison-pull")
    try:
        futures = {pool.submit(_layer, work, order, diff_id, blob, count): diff_id for diff_id, blob in missing.items()}
        for future in as_completed(futures):
            layers[futures[future]] = future.result()
    except BaseException:
        http.abort()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(layers[diff_id] for diff_id in diff_ids)


def _layer(work: "Incoming", order: Pull, diff_id: str, blob: Blob, count: "_Count") -> Layer:
    """Fetch and unpack one layer; to the end of what was sent, so that all of it was held against its digest."""
    what = f"layer {blob.digest[7:19]} of {order.reference}"
    with contextlib.closing(work.part(blob.digest, blob.size)) as part:
        chunks = _blob(order, blob, what, count.add, part)
        with sent_by(what):
            try:
                layer = work.unpack(chunks, diff_id=diff_id)
            except Invalid:
                part.drop()  # what is wrong with it would be so the next time, too
                raise
        for _ in chunks:
            pass
        work.note(layer)
        part.drop()
    return layer


class _Count:
    """The bytes that have come in all threads."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._lock = threading.Lock()
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress("fetch", self._done, self._total)
