"""What changes an image store. The caller holds the store's lock throughout: see `store`."""

import contextlib
import os
import re
import time

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Invalid
from cloison.images import blobs, layout
from cloison.images.files import settle_names
from cloison.images.image import Facts, Image
from cloison.images.layout import Descriptor, Index, Layer, Manifest, Record, hex_of

_NAME = re.compile(r"[a-z0-9]+([._+:@/-]{1,2}[a-z0-9]+)*")
AWAY = ".away"  # ends the name of a layer that is about to be deleted


def check_name(name: str) -> None:
    """Raises Invalid for what cannot be the name of an image."""
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise Invalid(
            f"{name!r} cannot be the name of an image",
            hint="lower-case letters and digits, with . _ + : @ / - between them, as in debian/12",
            name=name,
        )


def add(root: str, index: Index, rootfs: str, layer: Layer, facts: Facts) -> tuple[Image, tuple[Descriptor, ...]]:
    """Take `rootfs` over as a layer, and write its config and manifest; the image, and the index's lines with it."""
    blobs_dir = f"{root}/blobs/sha256"
    with full_disk_named(root, what="images"):
        _take(rootfs, f"{root}/layers/{hex_of(layer.diff_id)}")
        config = msgspec.json.encode(layout.config_of(facts, (layer,)))
        config_digest = blobs.put(blobs_dir, config)
        manifest = msgspec.json.encode(layout.manifest_of(config_digest, len(config), (layer,)))
        digest = blobs.put(blobs_dir, manifest)
    known = {name: getattr(facts, name) for name in Facts.__struct_fields__}
    record = Record(**known, created=_now(), layers=(layer,))
    line = layout.entry(digest, len(manifest), record)
    others = (_without(other, facts.names) for other in index.manifests if other.digest != digest)
    return layout.image_of(line, f"{root}/layers"), (*others, line)


def _take(rootfs: str, place: str) -> None:
    """Rename `rootfs` to `place`; where that is there already, it is the same layer and stays."""
    if not os.path.isdir(place):
        os.rename(rootfs, place)
        settle_names(os.path.dirname(place))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _without(line: Descriptor, names: tuple[str, ...]) -> Descriptor:
    """The same line, where the image no longer has any of `names`."""
    record = layout.record_of(line)
    if not set(names) & set(record.names):
        return line
    return renamed(line, tuple(name for name in record.names if name not in names))


def renamed(line: Descriptor, names: tuple[str, ...]) -> Descriptor:
    """The same line of the index, its image under these names."""
    return layout.entry(line.digest, line.size, msgspec.structs.replace(layout.record_of(line), names=names))


def put_away(root: str, index: Index) -> tuple[str, ...]:
    """Take out of the store the layers and documents that no image of `index` mentions; their former paths below it.

    Documents are deleted; layers only renamed into `tmp`, as deleting their files takes long."""
    documents, layers = _mentioned(root, index)
    removed = []
    for name in sorted(set(os.listdir(f"{root}/layers")) - layers):
        os.rename(f"{root}/layers/{name}", f"{root}/tmp/{os.urandom(8).hex()}{AWAY}")
        removed.append(f"layers/{name}")
    for name in sorted(set(os.listdir(f"{root}/blobs/sha256")) - documents):
        os.unlink(f"{root}/blobs/sha256/{name}")
        removed.append(f"blobs/sha256/{name}")
    for name in os.listdir(root):
        if name.endswith(".new"):
            os.unlink(f"{root}/{name}")
            removed.append(name)
    return tuple(removed)


def _mentioned(root: str, index: Index) -> tuple[set[str], set[str]]:
    """The names of the documents and of the layers that belong to images."""
    documents: set[str] = set()
    layers: set[str] = set()
    for line in index.manifests:
        documents.add(hex_of(line.digest))
        layers.update(hex_of(layer.diff_id) for layer in layout.record_of(line).layers)
        with contextlib.suppress(OSError):  # without its manifest an image still has its record
            with open(f"{root}/blobs/sha256/{hex_of(line.digest)}", "rb") as file:
                manifest = msgspec.json.decode(file.read(), type=Manifest)
            documents.add(hex_of(manifest.config.digest))
    return documents, layers
