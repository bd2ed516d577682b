"""Images as archives, for other programs; each a stream that is made while it is read.

| format | what it is | who reads it |
| --- | --- | --- |
| oci | image-spec v1.1, image-layout.md, in a tar | podman, skopeo, umoci, docker since 25 |
| docker | the same, with the manifest.json of `docker save` | docker of any age, podman, skopeo |
| tar | the root file system alone | tar; LXC, OpenVZ, `docker import` |
| lxd | metadata.yaml, templates/, rootfs/ | LXD, Incus |
| squashfs | the root file system alone | `mount`; the second half of a split image of LXD's |

The layers of oci and docker are the streams that the image came with, and its config is the document that it came with:
so it keeps its id. The other formats have one tree of all layers; one of a single layer is given as tar as it came.
"""

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloison.base.errors import Invalid
from cloison.images import layout
from cloison.images.archives import squashfs
from cloison.images.image import FileTemplate, Image
from cloison.images.layout import Layer, hex_of
from cloison.images.merging import merged
from cloison.images.tar import writing
from cloison.images.tar.member import Kind, Member
from cloison.images.workspace import workspace

if TYPE_CHECKING:
    from cloison.images.store import ImageStore

FORMATS: Final = ("oci", "docker", "tar", "lxd", "squashfs")
COMPRESSIONS: Final = ("none", "gzip", "zstd", "xz")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "i386": "i686", "ppc64el": "ppc64le"}
_CHUNK_BYTES = 1 << 20


def export(store: "ImageStore", image: Image, form: str, compression: str = "none") -> Iterator[bytes]:
    """The archive of an image. Raises Invalid for a format or compression that there is not, and for a squashfs that is
    to be compressed once more; while it is read, Host for a damaged layer, Unsupported without squashfs-tools-ng."""
    if form not in FORMATS:
        raise Invalid(f"there is no format {form!r}", hint=f"there is {', '.join(FORMATS)}", format=form)
    if compression not in COMPRESSIONS:
        raise Invalid(f"there is no compression {compression!r}", hint=f"there is {', '.join(COMPRESSIONS)}")
    if form == "squashfs":
        if compression != "none":
            raise Invalid("a squashfs is compressed by itself", hint="leave --compression away")
        return _squashfs(store, image)
    streams = {"oci": _oci, "docker": _docker, "tar": _tar, "lxd": _lxd}
    return compressed(streams[form](store, image), compression)


def compressed(stream: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The stream, compressed."""
    if compression == "none":
        yield from stream
        return
    packer = _packer(compression)
    for chunk in stream:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _packer(compression: str) -> Any:
    if compression == "gzip":
        import zlib

        return zlib.compressobj(wbits=31)
    if compression == "xz":
        import lzma

        return lzma.LZMACompressor()
    import zstandard

    return zstandard.ZstdCompressor(threads=-1, write_checksum=True).compressobj()


# --- documents over layers -------------------------------------------------------------------------------


def _oci(store: "ImageStore", image: Image) -> Iterator[bytes]:
    yield from _bundle(store, image, ())


def _docker(store: "ImageStore", image: Image) -> Iterator[bytes]:
    config = f"blobs/sha256/{hashlib.sha256(store.config_of(image)).hexdigest()}"
    tags = [_tagged(name) for name in image.names]
    layers = [f"blobs/sha256/{hex_of(layer.diff_id)}" for layer in store.layers_of(image)]
    saved = msgspec.json.encode([{"Config": config, "RepoTags": tags, "Layers": layers}])
    yield from _bundle(store, image, (("manifest.json", saved),))


def _tagged(name: str) -> str:
    """A name as Docker wants it, with a tag: "debian/12" is "debian/12:latest"."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _bundle(store: "ImageStore", image: Image, more: tuple[tuple[str, bytes], ...]) -> Iterator[bytes]:
    """A layout of the OCI's with one image, documents first: who reads it as a stream knows what comes."""
    config = store.config_of(image)
    layers = store.layers_of(image)
    config_digest = hashlib.sha256(config).hexdigest()
    manifest = msgspec.json.encode(layout.manifest_of(f"sha256:{config_digest}", len(config), layers))
    digest = hashlib.sha256(manifest).hexdigest()
    lines = tuple(
        layout.Descriptor(layout.OCI_MANIFEST, f"sha256:{digest}", len(manifest), _annotations(name))
        for name in image.names or ("",)
    )
    index = msgspec.json.encode(layout.Index(2, layout.OCI_INDEX, lines))
    yield _directory("blobs/") + _directory("blobs/sha256/")
    yield writing.whole("oci-layout", layout.OCI_LAYOUT) + writing.whole("index.json", index)
    for name, content in more:
        yield writing.whole(name, content)
    yield writing.whole(f"blobs/sha256/{digest}", manifest) + writing.whole(f"blobs/sha256/{config_digest}", config)
    for layer in dict.fromkeys(layers):
        yield from _layer(store, layer)
    yield writing.END


def _annotations(name: str) -> dict[str, str]:
    """What an image is called, for us and for others, to whom it has a tag."""
    if not name:
        return {}
    tagged = _tagged(name)
    return {layout.REF_NAME: tagged.rpartition(":")[2], "io.containerd.image.name": tagged, layout.OWN_NAME: name}


def _layer(store: "ImageStore", layer: Layer) -> Iterator[bytes]:
    """A layer as a blob, held against its digest on its way out."""
    size = layer.size_bytes
    name = f"blobs/sha256/{hex_of(layer.diff_id)}".encode()
    yield writing.header(Member(name, Kind.FILE, 0o644, 0, 0, 0, size, size))
    digest = hashlib.sha256()
    for chunk in store.stream(layer.diff_id):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != hex_of(layer.diff_id):
        raise layout.damaged_layer(layer.diff_id)
    yield writing.padding(size)


def _directory(name: str) -> bytes:
    return writing.header(Member(name.encode(), Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0))


# --- one tree --------------------------------------------------------------------------------------------


def _tar(store: "ImageStore", image: Image) -> Iterator[bytes]:
    layers = store.layers_of(image)
    if len(layers) == 1:
        yield from store.stream(layers[0].diff_id)
        return
    yield from merged(image.layers)
    yield writing.END


def _lxd(store: "ImageStore", image: Image) -> Iterator[bytes]:
    import yaml

    del store
    properties = {
        "os": image.os,
        "release": image.release,
        "architecture": image.architecture,
        "description": f"{image.os} {image.release} {image.architecture}".strip(),
        **image.properties,
    }
    names = {template.path: f"{number}.tpl" for number, template in enumerate(image.templates)}
    metadata = {
        "architecture": _MACHINES.get(image.architecture, image.architecture),
        "creation_date": _seconds(image.created),
        "properties": properties,
        "templates": {each.path: _said(each, names[each.path]) for each in image.templates},
    }
    yield writing.whole("metadata.yaml", yaml.safe_dump(metadata, sort_keys=False).encode())
    yield _directory("templates/")
    for template in image.templates:
        yield writing.whole(f"templates/{names[template.path]}", template.text.encode())
    yield from merged(image.layers, "rootfs/")
    yield writing.END


def _said(template: FileTemplate, name: str) -> dict[str, object]:
    said: dict[str, object] = {"when": list(template.when), "template": name}
    if template.create_only:
        said["create_only"] = True
    if template.properties:
        said["properties"] = dict(template.properties)
    if (template.uid, template.gid) != (0, 0):
        said |= {"uid": str(template.uid), "gid": str(template.gid)}
    if template.mode != FileTemplate(template.path, (), "").mode:
        said["mode"] = f"{template.mode:04o}"
    return said


def _seconds(created: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp())


def _squashfs(store: "ImageStore", image: Image) -> Iterator[bytes]:
    """Written down first: its table of contents stands at its beginning, and is known at its end."""
    store.prepare()
    with workspace(store.tmp_dir, store.lock_path) as work:
        path = f"{work.path}/squashfs"
        squashfs.from_tar(_tar(store, image), path)
        with open(path, "rb") as file:
            os.unlink(path)
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
