"""Images that come from elsewhere: their layers unpacked in a workspace, then taken over by the store, all at once.

    with store.incoming() as work:
        if not work.has_layer(diff_id):
            layer = work.unpack(chunks, diff_id=diff_id)
        image = work.finish(config, facts, layers)

    tmp/<random>/layers/<hex>/, <hex>.skeleton, <hex>.kept/   layers that are whole, named as in the store
    tmp/<random>/new/<n>                                      one that is being unpacked
    tmp/<random>/uses/<hex>                                   a layer of the store that is to stay until the end

Several threads may unpack at the same time. Whoever is killed leaves a workspace that `ImageStore.clean` removes; one
that `is_resumable` also leaves behind what it has when it fails, and takes over what others have left: see `remains`.
"""

import contextlib
import hashlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Invalid, NoSpace
from cloison.images import remains
from cloison.images.image import Facts, Image
from cloison.images.layout import Layer, hex_of
from cloison.images.limits import DEFAULT, Limits
from cloison.images.oci import diff_ids_of
from cloison.images.pipeline import aside, expanded
from cloison.images.remains import Part
from cloison.images.skeleton import Writer
from cloison.images.system import look
from cloison.images.tar.reading import Tar
from cloison.images.tar.source import Source, truncated
from cloison.images.unpack import Unpacker
from cloison.images.workspace import Workspace, workspace
from cloison.kernel.locks import exclusive

if TYPE_CHECKING:
    from cloison.images.store import ImageStore

Progress = Callable[[int], None]


def _in_silence(_done: int) -> None:
    """Nobody listens."""


class _Forgetful:
    """Hears of contents, and needs none of them again."""

    def content(self, path: bytes, offset: int, length: int) -> None:
        """Nothing is written down."""

    def replaced(self, path: bytes) -> bytes | None:
        """What is replaced is gone."""
        return None


class Incoming:
    """An image in the making; see the module. `left_out` counts what of its archives was not unpacked, by reason."""

    def __init__(self, store: "ImageStore", work: Workspace, limits: Limits) -> None:
        self.path = work.path
        self.limits = limits
        self.left_out: Counter[str] = Counter()
        self._store = store
        self._numbers = itertools.count()
        self._taking = threading.Lock()
        self._layers: dict[str, Layer] = {}
        for name in ("layers", "new", "uses"):
            os.mkdir(f"{work.path}/{name}")

    def has_layer(self, diff_id: str) -> bool:
        """Whether this layer is there, in the store or here. One of the store's stays until the end of this work."""
        return self.layer_of(diff_id) is not None

    def unpack(
        self, chunks: Iterable[bytes], *, diff_id: str = "", must_end: bool = True, progress: Progress = _in_silence
    ) -> Layer:
        """Unpack the tar stream in `chunks`, compressed or not, as a layer; its digest and length.

        `chunks` is read by another thread. With `diff_id` ("sha256:…") the uncompressed stream has to have that
        digest; without, the archive has to have a mark of its end, unless the caller checks the digest and says so by
        `must_end`. `progress` hears the bytes of `chunks` so far.
        Raises Invalid for what is damaged, hostile, too large or another stream; NoSpace; and what `chunks` raises."""
        if diff_id:
            check_digest(diff_id)
        place = f"{self.path}/new/{next(self._numbers)}"
        os.mkdir(place, 0o700)
        os.chmod(place, 0o755)
        with full_disk_named(self._store.root, what="images"):
            layer = self._unpack(place, chunks, progress, must_end=must_end and not diff_id)
            if diff_id and layer.diff_id != diff_id:
                raise Invalid(
                    f"a layer is not what it should be: its digest is {layer.diff_id} instead of {diff_id}",
                    hint="it was damaged on its way, or changed; get it again",
                    expected=diff_id,
                    found=layer.diff_id,
                )
            self.adopt(place, layer)
        return layer

    def finish(self, config: bytes, facts: Facts, layers: tuple[Layer, ...]) -> Image:
        """Give the image to the store: its config document, kept byte for byte, and its layers, the lowest first.

        Each layer was unpacked here, or `has_layer` said that it is there. Where the facts leave `os` and `release`
        open, the image's own files say them. Raises Invalid for a name that cannot be, and for a config that names
        other layers; NoSpace."""
        if diff_ids_of(config) != tuple(layer.diff_id for layer in layers):
            raise Invalid("the image's config names other layers than the image has", hint="get the image again")
        for layer in layers:
            with open(f"{self.path}/uses/{hex_of(layer.diff_id)}", "w"):
                pass  # the next image of this work may have it too
        if not facts.os:
            system = look(self.directories(layers))
            facts = msgspec.structs.replace(facts, os=system.os, release=facts.release or system.release)
        return self._store.take(self, config, facts, layers)

    def directories(self, layers: tuple[Layer, ...]) -> tuple[str, ...]:
        """Where the files of these layers are now, the uppermost first; `layers` begin with the lowest."""
        places = []
        for layer in reversed(layers):
            here = f"{self.path}/layers/{hex_of(layer.diff_id)}"
            there = f"{self._store.layers_dir}/{hex_of(layer.diff_id)}"
            places.append(here if os.path.isdir(here) else there)
        return tuple(places)

    def adopt(self, directory: str, layer: Layer) -> None:
        """Take a directory of this workspace's file system for a layer, of which the stream was measured."""
        name = hex_of(layer.diff_id)
        with self._taking:
            if name in self._layers:  # unpacked twice: one is enough
                return
            for ending in (".skeleton", ".kept", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{directory}{ending}", f"{self.path}/layers/{name}{ending}")
            self._layers[name] = layer

    def layer_of(self, diff_id: str) -> Layer | None:
        """The layer, where it is there, in the store or here; as `has_layer` it sees to it that it stays."""
        name = hex_of(check_digest(diff_id))
        with self._taking:
            if name in self._layers:
                return self._layers[name]
        with exclusive(self._store.lock_path, timeout_s=None):
            found = self._store.layer_of(diff_id)
            if found is None:
                return None
            with open(f"{self.path}/uses/{name}", "w"):
                pass
        with self._taking:
            self._layers[name] = found
        return found

    def take_over(self, diff_ids: Collection[str], blobs: Collection[str]) -> None:
        """Take what others have left of these layers, and of these blobs (as digests), where it is resumable."""
        for digest in (*diff_ids, *blobs):
            check_digest(digest)
        found = remains.take_over(self.path, self._store.lock_path, diff_ids, blobs)
        with self._taking:
            self._layers.update({hex_of(layer.diff_id): layer for layer in found})

    def part(self, blob: str, size: int) -> Part:
        """What there is of a blob, given as its digest, and where more of it goes. The caller closes it."""
        return Part(f"{self.path}/parts/{hex_of(check_digest(blob))}", size)

    def note(self, layer: Layer) -> None:
        """Say that a layer was held against all its digests: it is left behind where this work fails."""
        remains.note(self.path, layer)

    def _unpack(self, place: str, chunks: Iterable[bytes], progress: Progress, *, must_end: bool) -> Layer:
        digest = hashlib.sha256()
        with contextlib.ExitStack() as held:
            skeleton = os.open(f"{place}.skeleton", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            held.callback(os.close, skeleton)
            worker = held.enter_context(aside())
            feed = held.enter_context(expanded(chunks, self.limits))
            writer = Writer(skeleton, f"{place}.kept", worker.do)

            def heard() -> Iterator[bytes]:
                for chunk in feed:
                    worker.do(lambda chunk=chunk: digest.update(chunk))  # type: ignore[misc]
                    progress(feed.taken_bytes)
                    yield chunk

            source = Source(heard())
            tar = Tar(source, writer.literal, self.limits)
            unpacker = Unpacker(place, self.limits, writer)
            held.callback(unpacker.close)
            for member in tar.members():
                unpacker.unpack(member, source)
            unpacker.finish()
            if must_end and not tar.is_ended:
                raise truncated()
            writer.finish()
            worker.finish()
            with self._taking:
                self.left_out += unpacker.left_out
        return Layer(f"sha256:{digest.hexdigest()}", source.position)

    def extract(self, chunks: Iterable[bytes], *, progress: Progress = _in_silence) -> str:
        """Unpack a tar stream that is no layer but has one in it; the directory, which is this workspace's."""
        place = f"{self.path}/new/{next(self._numbers)}"
        os.mkdir(place, 0o700)
        with contextlib.ExitStack() as held:
            held.enter_context(full_disk_named(self._store.root, what="images"))
            feed = held.enter_context(expanded(chunks, self.limits))

            def heard() -> Iterator[bytes]:
                for chunk in feed:
                    progress(feed.taken_bytes)
                    yield chunk

            source = Source(heard())
            tar = Tar(source, lambda _piece: None, self.limits)
            unpacker = Unpacker(place, self.limits, _Forgetful())
            held.callback(unpacker.close)
            for member in tar.members():
                unpacker.unpack(member, source)
            unpacker.finish()
            if not tar.is_ended:
                raise truncated()
            self.left_out += unpacker.left_out
        return place


def check_digest(digest: str) -> str:
    """The same digest. Raises Invalid for what is no sha256 digest: it becomes a part of paths."""
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or not set(digits) <= _HEX_DIGITS:
        raise Invalid(
            f"{digest[:90]!r} is no digest that can be checked",
            hint="sha256: and 64 of the digits 0-9 and a-f",
            digest=digest[:90],
        )
    return digest


_HEX_DIGITS = frozenset("0123456789abcdef")


@contextlib.contextmanager
def incoming(store: "ImageStore", limits: Limits = DEFAULT, *, is_resumable: bool = False) -> Iterator[Incoming]:
    """A workspace for one image; what is not finished at the end is removed, or left behind where it `is_resumable`.
    Where the disk is full, nothing is."""
    store.prepare()
    with full_disk_named(store.root, what="images"), workspace(store.tmp_dir, store.lock_path) as work:
        made = Incoming(store, work, limits)
        if not is_resumable:
            yield made
            return
        remains.begin(work.path)
        try:
            with full_disk_named(store.root, what="images"):
                yield made
        except NoSpace:
            raise
        except BaseException:
            remains.leave(work.path, store.lock_path)
            raise
