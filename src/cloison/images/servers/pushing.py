"""From the store into a registry: layers that it lacks, config, manifest.

A layer is compressed as it is uploaded; its tar stream is that of its diff id to the byte, and the config is sent as it
came, so that the image keeps its id wherever it goes. What is known of a layer's former blobs (`memory`) is asked for
first, and taken from another repository of the same registry where it is there.

Source: distribution-spec v1.1, "Push"; image-spec v1.1.
"""

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec

from cloison.base.errors import Host, Invalid, Remote
from cloison.images.image import Image
from cloison.images.layout import OCI_CONFIG, OCI_MANIFEST, Layer
from cloison.images.servers import manifests, memory
from cloison.images.servers.manifests import Blob
from cloison.images.servers.memory import Known
from cloison.images.servers.references import Reference
from cloison.images.servers.registry import Registry, pulling
from cloison.images.servers.uploading import Upload, following, pushing
from cloison.images.store import ImageStore

Progress = Callable[[str, int, int | None], None]
COMPRESSIONS: Final = ("gzip", "zstd", "none")
_AT_ONCE: Final = 3
_LEVEL: Final = 6  # zlib's usual, as Docker's


class Push(msgspec.Struct, frozen=True):
    """What is to be pushed, and as what. `compression` "" takes what the registry has already, else gzip."""

    image: Image
    reference: Reference
    registry: Registry
    is_docker: bool = False  # schema 2 instead of the OCI's manifest
    compression: str = ""


class Pushed(msgspec.Struct, frozen=True):
    """What is in the registry now. `sent_bytes` are those of layers that it did not have."""

    name: str  # "registry.example.org/tools/web:1.2"
    digest: str  # of the manifest
    size_bytes: int  # of all blobs
    sent_bytes: int


def push(store: ImageStore, order: Push, progress: Progress) -> Pushed:
    """Bring an image into a registry. Raises Denied, Remote, Invalid; Host where the store's own copy is damaged."""
    if order.reference.digest:
        raise Invalid(f"{order.reference} is a digest, which is what a push gives", hint="push to a tag: NAME:TAG")
    manifests.layer_type(_plain(order.compression or "gzip"), is_docker=order.is_docker)
    progress("ask", 0, None)
    layers = store.layers_of(order.image)
    blobs: dict[str, Blob] = {}
    missing: dict[str, tuple[Layer, str]] = {}
    for layer in layers:
        if layer.diff_id not in blobs and layer.diff_id not in missing:
            blob, begun = _there(store, order, layer)
            if blob:
                blobs[layer.diff_id] = blob
            else:
                missing[layer.diff_id] = (layer, begun)
    sent = _uploaded(store, order, missing, progress)
    config = _config(store, order)
    described = tuple((blobs | sent)[layer.diff_id] for layer in layers)
    digest = _manifest(order, manifests.encode(config, described, is_docker=order.is_docker))
    return Pushed(
        name=order.reference.name,
        digest=digest,
        size_bytes=config.size + sum(blob.size for blob in described),
        sent_bytes=sum(blob.size for blob in sent.values()),
    )


def _there(store: ImageStore, order: Push, layer: Layer) -> tuple[Blob | None, str]:
    """The blob of a layer that the registry has already, or the address of an upload that it has begun instead."""
    registry, repository = order.registry, order.reference.repository
    what = f"a push to {order.reference}"
    begun = ""
    for known in memory.recall(store.layers_dir, layer.diff_id):
        if not known.host or not _suits(known.compression, order):
            continue  # without a host it is a mark of `taking`
        blob = Blob(manifests.layer_type(known.compression, is_docker=order.is_docker), known.digest, known.size)
        if registry.has_blob(repository, known.digest, what=what, scopes=pushing(repository)):
            return blob, ""
        if not begun and known.host == order.reference.host and known.repository != repository:
            begun = _mounted(order, known, what)
            if not begun:
                return blob, ""
    return None, begun


def _suits(compression: str, order: Push) -> bool:
    if order.compression:
        return compression == _plain(order.compression)
    return not (order.is_docker and compression == "zstd")


def _mounted(order: Push, known: Known, what: str) -> str:
    """Have a blob of another repository in this one: "" where that went well, else where an upload was begun."""
    query = urlencode({"mount": known.digest, "from": known.repository})
    place = f"/v2/{order.reference.repository}/blobs/uploads/?{query}"
    scopes = (*pushing(order.reference.repository), *pulling(known.repository))
    with order.registry.asked("POST", place, what=what, scopes=scopes) as response:
        if response.status_code == 201:
            return ""
        if response.status_code != 202:
            order.registry.refuse(response, what)
        return following(response)


def _uploaded(
    store: ImageStore, order: Push, missing: dict[str, tuple[Layer, str]], progress: Progress
) -> dict[str, Blob]:
    """Upload these layers, several at once; their blobs, by diff id."""
    count = _Count(sum(layer.size_bytes for layer, _ in missing.values()), progress)
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cloison-push")
    sent = {}
    try:
        futures = {
            pool.submit(_layer, store, order, layer, begun, count): layer.diff_id for layer, begun in missing.values()
        }
        for future in as_completed(futures):
            sent[futures[future]] = future.result()
    except BaseException:
        order.registry.http.abort()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return sent


def _layer(store: ImageStore, order: Push, layer: Layer, begun: str, count: "_Count") -> Blob:
    compression = _plain(order.compression or "gzip")
    what = f"layer {layer.diff_id[7:19]} of a push to {order.reference}"

    def source() -> Iterator[bytes]:
        return _compressed(_checked(store.stream(layer.diff_id), layer, count), compression)

    digest, size = Upload(order.registry, order.reference.repository, source, what).run(begun)
    seen = Known(digest, size, compression, order.reference.host, order.reference.repository)
    memory.remember(store.layers_dir, layer.diff_id, seen)
    return Blob(manifests.layer_type(compression, is_docker=order.is_docker), digest, size)


def _checked(pieces: Iterator[bytes], layer: Layer, count: "_Count") -> Iterator[bytes]:
    """The stream of a layer. Raises Host at its end where it is not that of its digest."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        count.add(layer.diff_id, len(piece))
        yield piece
    if f"sha256:{digest.hexdigest()}" != layer.diff_id:
        raise Host(
            f"the layer {layer.diff_id} of the image store is damaged: its files give another stream",
            hint="`cloison image verify` says what is damaged; get the image again",
        )


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressed(pieces: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The same stream, compressed; the same bytes each time, as nothing of the moment is in them."""
    if not compression:
        yield from pieces
        return
    packer: _Packer
    if compression == "zstd":
        import zstandard

        packer = zstandard.ZstdCompressor().compressobj()
    else:
        packer = zlib.compressobj(_LEVEL, wbits=31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _config(store: ImageStore, order: Push) -> Blob:
    """See to it that the registry has the config, byte for byte."""
    content = store.config_of(order.image)
    kind = manifests.DOCKER_CONFIG if order.is_docker else OCI_CONFIG
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    repository, what = order.reference.repository, f"a push to {order.reference}"
    if not order.registry.has_blob(repository, digest, what=what, scopes=pushing(repository)):
        Upload(order.registry, repository, lambda: iter((content,)), what).run()
    return Blob(kind, digest, len(content))


def _manifest(order: Push, content: bytes) -> str:
    """Give the image its tag, and with that make it one; the manifest's digest."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    repository, what = order.reference.repository, f"a push to {order.reference}"
    place = f"/v2/{repository}/manifests/{order.reference.tag}"
    headers = {"Content-Type": manifests.DOCKER_MANIFEST if order.is_docker else OCI_MANIFEST}
    scopes = pushing(repository)
    with order.registry.asked(
        "PUT", place, what=what, scopes=scopes, headers=headers, content=content, is_repeated=True
    ) as response:
        if response.status_code != 201:
            order.registry.refuse(response, what)
        told = response.headers.get("docker-content-digest", digest)
    if told != digest:
        raise Remote(f"{order.registry.name} says that it has {told} now, and was sent {digest}", hint="try again")
    return digest


def _plain(compression: str) -> str:
    return "" if compression == "none" else compression


class _Count:
    """The bytes of the layers' streams that were read in all threads; one that begins anew is counted once."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}
        self._total, self._progress = total, progress

    def add(self, diff_id: str, count: int) -> None:
        with self._lock:
            self._done[diff_id] = self._done.get(diff_id, 0) + count
            self._progress("push", min(sum(self._done.values()), self._total), self._total)
