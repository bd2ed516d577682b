"""The documents of an image store, as the OCI image specification defines them.

    index.json                 Index: one descriptor per image; its annotation `cloison.image` is a Record
    blobs/sha256/<manifest>    Manifest: digests of the config and of the layers
    blobs/sha256/<config>      Config: command, environment, architecture, `diff_ids`

Index, manifest and config are all that `docker`, `skopeo` and the like expect, with one exception: a layer's
blob is not kept. Its files are, unpacked, and `layers.stream` makes the same bytes of them again. The config of an
image that came from elsewhere is kept as it came, byte for byte: its digest is what Docker knows the image by.
The record repeats what the config says, so that finding an image is one small file to read.

Pure. Source: image-spec v1.1: image-layout.md, image-index.md, manifest.md, config.md, annotations.md.
"""

from typing import Final

import msgspec

from cloison.base.errors import Host
from cloison.images.image import Facts, Image

OCI_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
REF_NAME: Final = "org.opencontainers.image.ref.name"
OWN_NAME: Final = "cloison.name"  # in full, where others have a tag in every name
RECORD: Final = "cloison.image"


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A reference to a document: descriptor.md."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """`index.json`: the images of the store."""

    schema_version: int
    media_type: str
    manifests: tuple[Descriptor, ...]


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """One image: a config and its layers, the lowest first."""

    schema_version: int
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Execution(msgspec.Struct, frozen=True, rename="pascal"):
    """`config.config`: how the image wants to be run."""

    cmd: tuple[str, ...]
    env: tuple[str, ...]
    stop_signal: str
    labels: dict[str, str]


class Rootfs(msgspec.Struct, frozen=True):
    """`config.rootfs`: the layers, the lowest first."""

    type: str
    diff_ids: tuple[str, ...]


class Config(msgspec.Struct, frozen=True):
    """An image's config. It names no time: equal contents have an equal digest."""

    architecture: str
    os: str
    config: Execution
    rootfs: Rootfs


class Layer(msgspec.Struct, frozen=True):
    """One layer: the digest of its uncompressed tar stream ("sha256:…") and the stream's length."""

    diff_id: str
    size_bytes: int


class Record(Facts, frozen=True, kw_only=True, omit_defaults=True):
    """What the index remembers of an image."""

    created: str
    config: str = ""  # the digest of its config document; images of before have it in their manifest alone
    layers: tuple[Layer, ...]  # the lowest first


EMPTY_INDEX: Final = Index(2, OCI_INDEX, ())


def hex_of(digest: str) -> str:
    """The digest without its algorithm: the name of a blob or of a layer's directory."""
    return digest.removeprefix("sha256:")


def config_of(facts: Facts, layers: tuple[Layer, ...]) -> Config:
    """The config document of an image."""
    labels = {
        "cloison.os": facts.os,
        "cloison.release": facts.release,
        "cloison.template": facts.template,
        "cloison.system": "true" if facts.is_system else "false",
    }
    execution = Execution(facts.command, facts.env, facts.stop_signal, labels)
    return Config(facts.architecture, "linux", execution, Rootfs("layers", tuple(layer.diff_id for layer in layers)))


def manifest_of(config_digest: str, config_bytes: int, layers: tuple[Layer, ...]) -> Manifest:
    """The manifest document over a config of `config_bytes` bytes and its layers."""
    return Manifest(
        2,
        OCI_MANIFEST,
        Descriptor(OCI_CONFIG, config_digest, config_bytes),
        tuple(Descriptor(OCI_LAYER, layer.diff_id, layer.size_bytes) for layer in layers),
    )


def entry(digest: str, manifest_bytes: int, record: Record) -> Descriptor:
    """The index's line for the image whose manifest has this digest and length."""
    annotations = {RECORD: msgspec.json.encode(record).decode()}
    if record.names:
        annotations[REF_NAME] = record.names[0]
    return Descriptor(OCI_MANIFEST, digest, manifest_bytes, annotations)


def record_of(line: Descriptor) -> Record:
    """The record in a line of the index. Raises msgspec.DecodeError or KeyError where there is none."""
    return msgspec.json.decode(line.annotations[RECORD], type=Record)


def image_of(line: Descriptor, layers_dir: str) -> Image:
    """The image behind a line of the index, its layers below `layers_dir`."""
    record = record_of(line)
    return Image(
        **{name: getattr(record, name) for name in Facts.__struct_fields__},
        digest=line.digest,
        id=record.config,
        created=record.created,
        size_bytes=sum(layer.size_bytes for layer in record.layers),
        # A layer that an image has twice counts where it is higher: that covers all of what it is lower.
        layers=tuple(dict.fromkeys(f"{layers_dir}/{hex_of(layer.diff_id)}" for layer in reversed(record.layers))),
    )


def damaged_layer(diff_id: str) -> Host:
    """The error for a layer whose files are no longer what they were."""
    return Host(
        f"the layer {diff_id} of the image store is damaged",
        hint="`cloison image verify` says what is; remove the images that have it, and get them again",
        digest=diff_id,
    )
