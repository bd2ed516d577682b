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
from cloison.images.workspace import AWAY

# The tag at the end may have capitals, as those of registries do.
_NAME = re.compile(r"[a-z0-9]+((-+|[._+:@/]{1,2})[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?")
BESIDE = (".skeleton", ".kept")  # end the names of what is kept beside a layer: see `skeleton`


def check_name(name: str) -> None:
    """Raises Invalid for what cannot be the name of an image."""
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise Invalid(
            f"{name!r} cannot be the name of an image",
            hint="lower-case letters and digits, with . _ + : @ / - between them, as in debian/12",
            name=name,
        )


def add(
    root: str, index: Index, config: bytes, facts: Facts, layers: tuple[Layer, ...]
) -> tuple[Image, tuple[Descriptor, ...]]:
    """Write config and manifest over layers that are there; the image, and the index's lines with it."""
    blobs_dir = f"{root}/blobs/sha256"
    with full_disk_named(root, what="images"):
        config_digest = blobs.put(blobs_dir, config)
        manifest = msgspec.json.encode(layout.manifest_of(config_digest, len(config), layers))
        digest = blobs.put(blobs_dir, manifest)
    known = {name: getattr(facts, name) for name in Facts.__struct_fields__}
    record = Record(**known, created=_now(), config=config_digest, layers=layers)
    line = layout.entry(digest, len(manifest), _with_earlier_names(record, digest, index))
    others = (_without(other, facts.names) for other in index.manifests if other.digest != digest)
    return layout.image_of(line, f"{root}/layers"), (*others, line)


def _with_earlier_names(record: Record, digest: str, index: Index) -> Record:
    """The record, with the names that the same image has already."""
    names = [name for line in index.manifests if line.digest == digest for name in layout.record_of(line).names]
    return msgspec.structs.replace(record, names=tuple(dict.fromkeys((*record.names, *names))))


def take_layer(root: str, place: str, layer: Layer) -> None:
    """Rename a layer, and what is kept beside it, into the store; where it is there already, that stays.

    The directory comes last: where it is, the rest is."""
    target = f"{root}/layers/{hex_of(layer.diff_id)}"
    if os.path.isdir(target):
        return
    for ending in (*BESIDE, ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{place}{ending}", f"{target}{ending}")
    settle_names(os.path.dirname(target))


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


def without_property(line: Descriptor, name: str) -> Descriptor:
    """The same line of the index, its image without this property."""
    record = layout.record_of(line)
    left = {each: text for each, text in record.properties.items() if each != name}
    return layout.entry(line.digest, line.size, msgspec.structs.replace(record, properties=left))


def put_away(root: str, index: Index, in_use: frozenset[str]) -> tuple[str, ...]:
    """Take out of the store the layers and documents that no image of `index` mentions; their former paths below it.

    Layers whose names are `in_use` stay: an image is being made of them. Documents are deleted; layers only renamed
    into `tmp`, as deleting their files takes long."""
    documents, layers = _mentioned(root, index)
    removed = []
    for name in sorted(os.listdir(f"{root}/layers")):
        if name.partition(".")[0] in layers | in_use:
            continue
        if name.endswith(".skeleton"):
            os.unlink(f"{root}/layers/{name}")
        else:
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
