"""What servers offer, as lists."""

from typing import TypeVar

import msgspec

from cloison.base.errors import Remote
from cloison.images.servers.references import SCHEME
from cloison.images.servers.registry import Registry, pulling
from cloison.images.servers.simplestreams import Product, matching

T = TypeVar("T")


class Offer(msgspec.Struct, frozen=True):
    """An image on a server. What is not known before it is pulled is empty, or null."""

    reference: str  # by which it is pulled: "images:debian/12"
    architecture: str = ""
    os: str = ""
    release: str = ""
    variant: str = ""
    version: str = ""  # the newest
    size_bytes: int | None = None  # of what is downloaded


class _Tags(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


class _Catalog(msgspec.Struct, frozen=True):
    repositories: tuple[str, ...] | None = None


def of_streams(remote: str, products: tuple[Product, ...], words: str, architecture: str) -> tuple[Offer, ...]:
    """The products with `words` in a name, for one architecture, or for all where it is empty."""
    return tuple(_offer(remote, product) for product in matching(products, words, architecture))


def _offer(remote: str, product: Product) -> Offer:
    version = max(product.versions, default="")
    items = product.versions[version].items.values() if version else ()
    sizes = [item.size for item in items if item.ftype in ("squashfs", "root.tar.xz") or "combined" in item.ftype]
    return Offer(
        reference=f"{remote}:{product.names[0]}",
        architecture=product.arch,
        os=product.os,
        release=product.release_title or product.release,
        variant=product.variant,
        version=version,
        size_bytes=min(sizes) if sizes else None,
    )


def tags(registry: Registry, repository: str) -> tuple[Offer, ...]:
    """The tags of a repository. Raises NotFound, Denied, Remote."""
    what = f"the tags of {registry.name}/{repository}"
    pages = registry.listed(f"/v2/{repository}/tags/list", scopes=pulling(repository), what=what)
    names = [tag for page in pages for tag in _decoded(page, _Tags, what).tags or ()]
    return tuple(Offer(f"{SCHEME}{registry.name}/{repository}:{tag}") for tag in names)


def catalog(registry: Registry, words: str) -> tuple[Offer, ...]:
    """The repositories of a registry with `words` in their names. Many registries tell nobody."""
    what = f"the catalog of {registry.name}"
    pages = registry.listed("/v2/_catalog", scopes=("registry:catalog:*",), what=what)
    names = [name for page in pages for name in _decoded(page, _Catalog, what).repositories or ()]
    return tuple(Offer(f"{SCHEME}{registry.name}/{name}") for name in names if words in name)


def _decoded(content: bytes, shape: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.MsgspecError as problem:
        raise Remote(f"{what} cannot be read: {problem}") from problem
