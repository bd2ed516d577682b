"""The images that a bundle holds, by its documents.

    manifest.json                 `docker save`, `podman save`, skopeo's docker-archive: [{Config, RepoTags, Layers}]
    oci-layout, index.json        image-spec v1.1, image-layout.md: descriptors of manifests, or of lists of them

An archive with both, as Docker writes since version 25, is read by the first, which names its images in full.
"""

import hashlib
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from cloison.base.errors import Invalid, Remote
from cloison.images import layout, oci
from cloison.images.archives.bundles import Bundle
from cloison.images.servers import manifests
from cloison.images.servers.manifests import Blob
from cloison.images.servers.platforms import Platform, suits

_T = TypeVar("_T")
_NAMES = (layout.OWN_NAME, "io.containerd.image.name", "org.opencontainers.image.ref.name")
_MOST_LISTS = 4  # lists of lists; nobody makes more than two


class Found(msgspec.Struct, frozen=True):
    """One image of a bundle: its names there, its config document, and the names of its layers, the lowest first."""

    names: tuple[str, ...]
    config: bytes
    layers: tuple[str, ...]


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


class _Index(msgspec.Struct, frozen=True, rename="camel"):
    manifests: tuple[Blob, ...]


def found_in(bundle: Bundle, platform: Platform, *, is_chosen: bool) -> tuple[Found, ...]:
    """All images of a bundle for this platform. One image for another is refused; `is_chosen`: by the user's word.

    Raises Invalid for documents that are damaged, missing or not understood; NotFound naming the platforms."""
    saved, index = bundle.document("manifest.json"), bundle.document("index.json")
    if saved is not None:
        found = _merged(_saved(bundle, saved))
    elif index is not None:
        found = _merged(_listed(bundle, index, platform))
    else:
        raise Invalid(
            "the archive has no image that is understood: neither manifest.json nor index.json is in it",
            hint="`docker save`, `podman save` and `skopeo copy` make archives that are understood",
        )
    if not found:
        raise Invalid("the archive holds no image", hint="save it again, and name an image")
    for each in found:
        offered = oci.platform_of(each.config)
        if len(found) == 1 and offered.architecture and not suits(platform, offered):
            raise Invalid(
                f"the image is for {offered}, and {'not for' if is_chosen else 'this host is'} {platform}",
                hint=f"--platform {offered} takes it all the same",
                platform=str(offered),
            )
    return found


def _merged(each: Iterator[Found]) -> tuple[Found, ...]:
    """One image under several names is one: a layout of the OCI's has a descriptor for each of them."""
    images: dict[tuple[bytes, tuple[str, ...]], tuple[str, ...]] = {}
    for one in each:
        key = (one.config, one.layers)
        images[key] = (*images.get(key, ()), *one.names)
    return tuple(Found(tuple(dict.fromkeys(names)), *key) for key, names in images.items())


def _saved(bundle: Bundle, content: bytes) -> Iterator[Found]:
    for one in _decoded(content, tuple[_Saved, ...], "manifest.json"):
        config = _needed(bundle, one.config)
        digits = one.config.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")
        if len(digits) == 64:
            _check(config, f"sha256:{digits}", one.config)
        yield Found(tuple(one.repo_tags or ()), config, tuple(one.layers or ()))


def _listed(bundle: Bundle, content: bytes, platform: Platform) -> Iterator[Found]:
    entries = _decoded(content, _Index, "index.json").manifests
    taken: set[tuple[str, ...]] = set()
    for entry in _preferred(entries, platform):
        names = tuple(dict.fromkeys(entry.annotations[key] for key in _NAMES if entry.annotations.get(key)))
        found = _image(bundle, entry, platform, names[:1])
        if found is not None and (not found.names or found.names not in taken):
            taken.add(found.names)
            yield found


def _preferred(entries: tuple[Blob, ...], platform: Platform) -> list[Blob]:
    """Those for this platform, and those that do not say for which they are; all, where none would be left."""
    fitting = [each for each in entries if each.platform is None or suits(platform, each.platform)]
    return fitting or [each for each in entries if each.platform is None or each.platform.os != "unknown"]


def _image(bundle: Bundle, entry: Blob, platform: Platform, names: tuple[str, ...]) -> Found | None:
    """The image behind a descriptor, through lists of platforms; None for what is no image, such as a signature."""
    what = names[0] if names else "the image"
    try:
        for _ in range(_MOST_LISTS):
            content = _blob(bundle, entry)
            kind = manifests.kind_of(content, entry.media_type, what=what)
            if kind in manifests.LISTS:
                entry = manifests.chosen(content, platform, what=what)
                continue
            manifest = manifests.manifest(content, kind, what=what)
            layers = tuple(_path(layer.digest) for layer in manifest.layers)
            return Found(names, _blob(bundle, manifest.config), layers)
    except Remote as problem:  # said of servers, and as true of archives
        raise Invalid(problem.sentence, hint=problem.hint) from problem
    raise Invalid("the archive's lists of images name one another without an end")


def _blob(bundle: Bundle, entry: Blob) -> bytes:
    path = _path(entry.digest)
    content = _needed(bundle, path)
    _check(content, entry.digest, path)
    return content


def _path(digest: str) -> str:
    manifests.check_digest(digest, what="the archive")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _needed(bundle: Bundle, name: str) -> bytes:
    content = bundle.document(name)
    if content is None:
        raise Invalid(f"the archive lacks {name!r}, which its manifest names", hint="get the archive again")
    return content


def _check(content: bytes, digest: str, name: str) -> None:
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise Invalid(
            f"the document {name!r} is not what it should be: its digest is {found} instead of {digest}",
            hint="the archive was damaged or changed; get it again",
        )


def _decoded(content: bytes, shape: type[_T], name: str) -> _T:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.MsgspecError as problem:
        raise Invalid(f"the archive's {name} is damaged: {problem}", hint="get the archive again") from problem
