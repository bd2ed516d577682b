"""What registries say about images: manifests and lists of them, by media type.

| kind | media types |
| --- | --- |
| list by platform | OCI image index, Docker manifest list |
| manifest | OCI image manifest, Docker schema 2 |
| layer | tar, plain or by gzip or zstd |

Pure. Source: image-spec v1.1, manifest.md and image-index.md; distribution, "Image Manifest V 2, Schema 2".
"""

from typing import Final, TypeVar

import msgspec

from cloison.base.errors import Invalid, NotFound, Remote, Unsupported
from cloison.images.layout import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from cloison.images.servers.platforms import Platform, suits

T = TypeVar("T")

DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+"
LISTS: Final = (OCI_INDEX, DOCKER_LIST)
ACCEPTED: Final = (OCI_MANIFEST, DOCKER_MANIFEST, *LISTS)
LAYERS: Final = {
    OCI_LAYER: "",
    f"{OCI_LAYER}+gzip": "gzip",
    f"{OCI_LAYER}+zstd": "zstd",
    DOCKER_LAYER: "",
    f"{DOCKER_LAYER}.gzip": "gzip",
    f"{DOCKER_LAYER}.zstd": "zstd",
}
MAX_MANIFEST_BYTES: Final = 4 << 20  # distribution-spec, "Pushing Manifests": what a registry has to take
MAX_LAYERS: Final = 512  # overlayfs takes 500 lower directories


class Blob(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A reference to a blob: descriptor.md."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """One image: a config and its layers, the lowest first."""

    schema_version: int
    media_type: str
    config: Blob
    layers: tuple[Blob, ...]


class _Listing(msgspec.Struct, frozen=True, rename="camel"):
    manifests: tuple[Blob, ...]


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    config: Blob
    layers: tuple[Blob, ...]


class _Kind(msgspec.Struct, frozen=True, rename="camel"):
    """What tells documents apart that come without a media type."""

    schema_version: int = 0
    media_type: str = ""
    manifests: msgspec.Raw = msgspec.Raw()
    config: msgspec.Raw = msgspec.Raw()


def kind_of(content: bytes, media_type: str, *, what: str) -> str:
    """The media type of a document: its own word, else the server's, else by its fields.

    Raises Remote for what is no document, Unsupported for a type that there is nothing to do with."""
    try:
        said = msgspec.json.decode(content, type=_Kind)
    except msgspec.MsgspecError as problem:
        raise Remote(f"the manifest of {what} cannot be read: {problem}", hint="is that a registry?") from problem
    told = media_type.partition(";")[0].strip()
    kind = said.media_type or (told if told.startswith("application/vnd.") else "")
    if not kind:
        kind = OCI_INDEX if bytes(said.manifests) else OCI_MANIFEST if bytes(said.config) else ""
    if said.schema_version == 1 or kind.startswith(DOCKER_SCHEMA1):
        raise Unsupported(
            f"{what} is stored in Docker's schema 1, which went out of use in 2017",
            hint="push it to the registry again with a present Docker, Podman or skopeo",
            media_type=kind,
        )
    if kind not in ACCEPTED:
        raise Unsupported(f"{what} is no image but {kind or 'a document of unknown kind'}", media_type=kind)
    return kind


def chosen(content: bytes, platform: Platform, *, what: str) -> Blob:
    """The manifest for `platform` in a list. Raises NotFound, naming the platforms that there are; Remote."""
    listing = _decoded(content, _Listing, what)
    images = [entry for entry in listing.manifests if entry.media_type in (OCI_MANIFEST, DOCKER_MANIFEST)]
    offered = [entry for entry in images if entry.platform is not None]
    fitting = [entry for entry in offered if entry.platform and suits(platform, entry.platform)]
    exact = [entry for entry in fitting if entry.platform and entry.platform.variant == platform.variant]
    if exact or fitting:
        return (exact or fitting)[0]
    if len(images) == 1 and not offered:
        return images[0]
    known = sorted({str(entry.platform) for entry in offered if entry.platform and entry.platform.os != "unknown"})
    raise NotFound(
        f"{what} is not there for {platform}",
        hint=f"there is {', '.join(known)}; choose with --platform" if known else "its list of platforms is empty",
        platform=str(platform),
        platforms=tuple(known),
    )


def manifest(content: bytes, kind: str, *, what: str) -> Manifest:
    """The manifest in a document of this media type. Raises Remote, and Unsupported for layers of unknown kind."""
    body = _decoded(content, _Body, what)
    if body.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise Unsupported(f"{what} is no image but an artifact of type {body.config.media_type}")
    for layer in body.layers:
        if layer.media_type not in LAYERS:
            foreign = "foreign" in layer.media_type or "nondistributable" in layer.media_type
            why = "which is not in the registry itself: it is for Windows" if foreign else "which is not known"
            raise Unsupported(
                f"{what} has a layer of type {layer.media_type}, {why}",
                hint=""
                if foreign
                else "layers of the OCI's and Docker's are: tar, alone or compressed by gzip or zstd",
                media_type=layer.media_type,
            )
    if len(body.layers) > MAX_LAYERS:
        raise Unsupported(f"{what} has {len(body.layers)} layers; {MAX_LAYERS} can be mounted over one another")
    for blob in (body.config, *body.layers):
        check_digest(blob.digest, what=what)
        if blob.size < 0:
            raise Remote(f"the manifest of {what} names a blob of {blob.size} bytes")
    return Manifest(2, kind, body.config, body.layers)


def check_digest(digest: str, *, what: str) -> None:
    """Raises Remote where a server names a blob by what is no sha256 digest."""
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise Remote(f"the manifest of {what} names a blob by {digest[:80]!r}, which is no sha256 digest")


def encode(config: Blob, layers: tuple[Blob, ...], *, is_docker: bool) -> bytes:
    """The document of a manifest."""
    kind = DOCKER_MANIFEST if is_docker else OCI_MANIFEST
    return msgspec.json.encode(Manifest(2, kind, config, layers))


def layer_type(compression: str, *, is_docker: bool) -> str:
    """The media type of a layer that is compressed by "", "gzip" or "zstd". Raises Invalid."""
    if is_docker:
        types = {"": DOCKER_LAYER, "gzip": f"{DOCKER_LAYER}.gzip"}
    else:
        types = {"": OCI_LAYER, "gzip": f"{OCI_LAYER}+gzip", "zstd": f"{OCI_LAYER}+zstd"}
    if compression not in types:
        raise Invalid(f"Docker's manifests know no layers by {compression}", hint="use --format oci, or gzip")
    return types[compression]


def _decoded(content: bytes, shape: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.MsgspecError as problem:
        raise Remote(f"the manifest of {what} cannot be read: {problem}", hint="is that a registry?") from problem
