"""The images of one data directory.

    oci-layout, index.json    what there is: see `layout`
    blobs/sha256/<hex>        manifests and configs
    layers/<hex>/             unpacked layers by diff id, ids as the image has them
    layers/<hex>.skeleton     how the stream looked from which it was unpacked, .kept/ what replaced files held: see
                              `skeleton`; a layer without was made here, and has the form of `layers.pack`
    tmp/<random>/             work in progress: see `workspace`; and what downloads leave behind: see `remains`
    builds/<key>.lock         see `building`
    lock                      held while the index, blobs or layers change, never while something is built
    last-build.log            what the programs of the last build said

The root is 0700: a layer holds set-user-ID programs and private files, and no user of the host may reach them.

Order of locks: builds/<key>.lock, tmp/<random>/lock, lock. Order of an addition: layers, blobs, index; of a removal:
index, then the rest. So whatever is interrupted leaves only what no image mentions, and `clean` removes that.
Reading takes no lock: the index is replaced as a whole.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Exists, Host, Invalid, NotFound
from cloison.images.image import Facts, Image
from cloison.images.layout import EMPTY_INDEX, Descriptor, Index, Layer, hex_of, image_of, record_of
from cloison.kernel.locks import exclusive

if TYPE_CHECKING:
    from cloison.images.incoming import Incoming
    from cloison.images.limits import Limits

_SHORTEST_PREFIX = 6
_HEX_DIGITS = frozenset("0123456789abcdef")


class ImageStore:
    """The image store below the directory `root`, which is made when something is first added."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.layers_dir = f"{root}/layers"
        self.blobs_dir = f"{root}/blobs/sha256"
        self.tmp_dir = f"{root}/tmp"
        self.builds_dir = f"{root}/builds"
        self.lock_path = f"{root}/lock"
        self._index_path = f"{root}/index.json"

    def images(self) -> tuple[Image, ...]:
        """All images, in the order of their names; those without a name come last. Raises Host for a damaged index."""
        with self._damage_named():
            images = [image_of(line, self.layers_dir) for line in self._index().manifests]
        return tuple(sorted(images, key=lambda image: (not image.names, image.names, image.digest)))

    def known(self, reference: str) -> Image | None:
        """The image of this name, or the only one of which this is the start of the digest (6 digits or more)."""
        reference, images = _plain(reference), self.images()
        named = [image for image in images if reference in image.names]
        found = named or [image for image in images if _begins_digest(reference, image.digest)]
        return found[0] if len(found) == 1 else None

    def find(self, name: str) -> Image:
        """The image of this name, of this digest, or of which this is the start of the digest (6 digits or more).

        "debian" finds "debian/12" where that is the only Debian, and "docker://debian" what was pulled by that. Raises
        NotFound, and Invalid where several fit."""
        name, images = _plain(name), self.images()
        found = (
            [image for image in images if name in image.names]
            or [image for image in images if any(known.startswith(f"{name}/") for known in image.names)]
            or [image for image in images if _begins_digest(name, image.digest)]
        )
        if len(found) == 1:
            return found[0]
        if found:
            fitting = ", ".join(_shown(image) for image in found)
            raise Invalid(f"{name!r} fits {len(found)} images: {fitting}", hint="write more of it", name=name)
        raise _no_image(name, images)

    def add(self, rootfs: str, layer: Layer, facts: Facts) -> Image:
        """Make an image of the directory `rootfs`, on the same filesystem, which is taken over; `layer` is its measure.

        The names move to it from the images that had them. Raises Invalid for a name that cannot be, NoSpace."""
        from cloison.images import changes, layout

        config = msgspec.json.encode(layout.config_of(facts, (layer,)))
        return self._add(config, facts, (layer,), lambda: changes.take_layer(self.root, rootfs, layer))

    def incoming(
        self, limits: "Limits | None" = None, *, is_resumable: bool = False
    ) -> "contextlib.AbstractContextManager[Incoming]":
        """Work on an image that comes from elsewhere, with several layers and a config of its own: see `incoming`."""
        from cloison.images.incoming import incoming
        from cloison.images.limits import DEFAULT

        return incoming(self, limits or DEFAULT, is_resumable=is_resumable)

    def take(self, work: "Incoming", config: bytes, facts: Facts, layers: tuple[Layer, ...]) -> Image:
        """Take over the layers of `work`, and make an image of them. `Incoming.finish` calls it."""
        from cloison.images import changes
        from cloison.images.layers import settle

        settle(work.path)

        def move() -> None:
            for layer in layers:
                changes.take_layer(self.root, f"{work.path}/layers/{hex_of(layer.diff_id)}", layer)

        return self._add(config, facts, layers, move)

    def _add(self, config: bytes, facts: Facts, layers: tuple[Layer, ...], move: Callable[[], None]) -> Image:
        from cloison.images import changes

        for name in facts.names:
            changes.check_name(name)
        self.prepare()
        with self._changing():
            index = self._index()
            move()
            image, lines = changes.add(self.root, index, config, facts, layers)
            self._replace_index(lines)
        return image

    def has_layer(self, diff_id: str) -> bool:
        """Whether an image has this layer. Who relies on it asks `Incoming.has_layer`, which also keeps it."""
        return self.layer_of(diff_id) is not None

    def layer_of(self, diff_id: str) -> Layer | None:
        """What is known of a layer by its diff id ("sha256:…"); None for one that no image has."""
        for line in self._index().manifests:
            for layer in record_of(line).layers:
                if layer.diff_id == diff_id and os.path.isdir(f"{self.layers_dir}/{hex_of(diff_id)}"):
                    return layer
        return None

    def layers_of(self, image: Image) -> tuple[Layer, ...]:
        """The digests and lengths of an image's layers, the lowest first."""
        return next((record_of(line).layers for line in self._index().manifests if line.digest == image.digest), ())

    def stream(self, diff_id: str) -> Iterator[bytes]:
        """The uncompressed tar stream of a layer, byte for byte as it came. Raises Host where the layer is damaged."""
        from cloison.images.layers import stream

        return stream(f"{self.layers_dir}/{hex_of(diff_id)}")

    def config_of(self, image: Image) -> bytes:
        """The image's config document, as it came. Raises NotFound, Host where it is damaged."""
        from cloison.images import blobs
        from cloison.images.layout import Manifest

        manifest = msgspec.json.decode(blobs.get(self.blobs_dir, image.digest), type=Manifest)
        return blobs.get(self.blobs_dir, manifest.config.digest)

    def tag(self, name: str, new_name: str) -> Image:
        """Give the image `name` one more name. Raises NotFound, Invalid, Exists where another image has that name."""
        from cloison.images import changes

        changes.check_name(new_name)
        self.find(name)  # before the lock, whose directory is missing where no image ever was
        with self._changing():
            image = self.find(name)
            owner = self.known(new_name)
            if owner is not None and owner.digest != image.digest:
                raise Exists(f"another image, {_shown(owner)}, has the name {new_name!r}", name=new_name)
            names = tuple(dict.fromkeys((*image.names, new_name)))
            lines = self._index().manifests
            self._replace_index(
                tuple(changes.renamed(line, names) if line.digest == image.digest else line for line in lines)
            )
            return self.find(new_name)

    def forget_property(self, digest: str, name: str) -> None:
        """Take a property from an image, where it has it."""
        from cloison.images import changes

        with self._changing():
            lines = self._index().manifests
            self._replace_index(
                tuple(changes.without_property(line, name) if line.digest == digest else line for line in lines)
            )

    def untag(self, reference: str) -> Image | None:
        """Take the name that is meant by `reference` from an image with others, which stays; None where that would be
        its last one, and for a digest. Raises NotFound or Invalid, as `find`."""
        from cloison.images import changes

        self.find(reference)  # before the lock, whose directory is missing where no image ever was
        with self._changing():
            image, plain = self.find(reference), _plain(reference)
            meant = (plain,) if plain in image.names else tuple(n for n in image.names if n.startswith(f"{plain}/"))
            left = tuple(name for name in image.names if name not in meant)
            if not meant or not left:
                return None
            lines = self._index().manifests
            self._replace_index(
                tuple(changes.renamed(line, left) if line.digest == image.digest else line for line in lines)
            )
            return self.find(image.digest)

    def remove(self, name: str) -> Image:
        """Remove an image, under all its names, with the layers that no other image uses; what it was.

        The caller has seen to it that no instance uses it. Raises NotFound or Invalid, as `find`."""
        self.find(name)
        with self._changing():
            image = self.find(name)
            self._replace_index(tuple(line for line in self._index().manifests if line.digest != image.digest))
        self.clean()
        return image

    def clean(self) -> tuple[str, ...]:
        """Remove what interrupted work has left: workspaces, layers and documents that belong to no image.

        What was removed, as paths below the root. Work in progress is left alone."""
        if not os.path.isdir(self.tmp_dir):
            return ()
        from cloison.images import changes
        from cloison.images.workspace import AWAY, put_away, remove_tree, rubbish, uses

        with self._changing(), self._damage_named():
            removed = changes.put_away(self.root, self._index(), uses(self.tmp_dir))
            left = rubbish(self.tmp_dir)
            away = put_away(left)
        for path in away:
            remove_tree(path)
        return (*removed, *(os.path.relpath(path, self.root) for path in left if not path.endswith(AWAY)))

    def prepare(self) -> None:
        """Make the directories of the store where they are missing. Raises NoSpace."""
        from cloison.base.disk import full_disk_named
        from cloison.images.files import write_beside
        from cloison.images.layout import OCI_LAYOUT
        from cloison.kernel.files import scatter

        with full_disk_named(self.root, what="images"):
            os.makedirs(self.root, exist_ok=True)
            os.chmod(self.root, 0o700)
            for path in (self.layers_dir, self.blobs_dir, self.tmp_dir, self.builds_dir):
                os.makedirs(path, exist_ok=True)
            scatter(self.tmp_dir)
            if not os.path.exists(f"{self.root}/oci-layout"):
                with self._changing():  # whoever else begins with this store at the same moment writes the same
                    write_beside(f"{self.root}/oci-layout", OCI_LAYOUT)

    def _replace_index(self, lines: tuple[Descriptor, ...]) -> None:
        from cloison.base.disk import full_disk_named
        from cloison.images.files import write_beside

        index = Index(EMPTY_INDEX.schema_version, EMPTY_INDEX.media_type, lines)
        with full_disk_named(self.root, what="images"):
            write_beside(self._index_path, msgspec.json.encode(index))

    def _changing(self) -> contextlib.AbstractContextManager[int]:
        return exclusive(self.lock_path, timeout_s=None)

    def _index(self) -> Index:
        with self._damage_named():
            try:
                with open(self._index_path, "rb") as file:
                    return msgspec.json.decode(file.read(), type=Index)
            except FileNotFoundError:
                return EMPTY_INDEX

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (msgspec.MsgspecError, KeyError) as damage:
            raise Host(
                f"the index of the image store is damaged: {damage}",
                hint="move the store's directory away; its images are built again when they are asked for",
                path=self._index_path,
            ) from damage


def _plain(reference: str) -> str:
    """The name under which the store has what a registry has under this reference. Raises Invalid for a wrong one."""
    if not reference.startswith("docker://"):
        return reference
    from cloison.images.servers.references import parse

    return parse(reference).name


def _begins_digest(text: str, digest: str) -> bool:
    digits = text.removeprefix("sha256:")
    return len(digits) >= _SHORTEST_PREFIX and set(digits) <= _HEX_DIGITS and digest.startswith(f"sha256:{digits}")


def _shown(image: Image) -> str:
    return image.names[0] if image.names else image.digest.removeprefix("sha256:")[:12]


def _no_image(name: str, images: tuple[Image, ...]) -> NotFound:
    known = tuple(_shown(image) for image in images)
    if known:
        return NotFound(f"there is no image {name!r}", hint=f"there is {', '.join(known)}", name=name, images=known)
    hint = "`cloison image pull`, `build` and `import` bring some"
    return NotFound(f"there is no image {name!r}, and no other", hint=hint, name=name)
