"""What a simplestreams server offers: products, their versions, and the files of one version.

    streams/v1/index.json     Index: which lists there are
    streams/v1/images.json    Products: one per system, release, variant and architecture
    images/…                  files, by path, with size and sha256

An image is one archive (`lxd_combined.tar.gz`), or two: `lxd.tar.xz` with the metadata, and the root filesystem as a
squashfs or a tar. Incus' servers call them `incus…`; both are the same.

Pure. Source: simplestreams, `doc/README`; LXD's `shared/simplestreams`.
"""

from typing import Final, TypeVar

import msgspec

from cloison.base.errors import NotFound, Remote, Unsupported

T = TypeVar("T")
METADATA: Final = ("incus.tar.xz", "lxd.tar.xz")
UNIFIED: Final = ("incus_combined.tar.gz", "lxd_combined.tar.gz")
SQUASHFS, TAR = "squashfs", "root.tar.xz"
_COMBINED: Final = {SQUASHFS: ("combined_squashfs_sha256",), TAR: ("combined_rootxz_sha256", "combined_sha256")}
_DATATYPE: Final = "image-downloads"


class Item(msgspec.Struct, frozen=True):
    """One file. The digests are hexadecimal; those that are `combined` are of the metadata and the file in a row."""

    ftype: str = ""
    path: str = ""
    size: int = 0
    sha256: str = ""
    combined_sha256: str = ""
    combined_rootxz_sha256: str = ""
    combined_squashfs_sha256: str = ""


class Version(msgspec.Struct, frozen=True):
    """The files of one day."""

    items: dict[str, Item] = {}


class Product(msgspec.Struct, frozen=True):
    """One system, release, variant and architecture."""

    aliases: str = ""  # with commas in between
    arch: str = ""
    os: str = ""
    release: str = ""
    release_title: str = ""
    variant: str = ""
    versions: dict[str, Version] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Under what it can be asked for."""
        return tuple(alias.strip() for alias in self.aliases.split(",") if alias.strip())


class Products(msgspec.Struct, frozen=True):
    """A list of products."""

    products: dict[str, Product] = {}


class Entry(msgspec.Struct, frozen=True):
    """A list that there is, by its path."""

    path: str
    datatype: str = ""


class Index(msgspec.Struct, frozen=True):
    """The lists that there are."""

    index: dict[str, Entry]


class Choice(msgspec.Struct, frozen=True):
    """The files of an image. `metadata` is None where `rootfs` is a unified archive; `combined` may be empty."""

    product: Product
    version: str
    metadata: Item | None
    rootfs: Item
    combined: str

    @property
    def size_bytes(self) -> int:
        """What is downloaded."""
        return self.rootfs.size + (self.metadata.size if self.metadata else 0)


def lists(content: bytes, *, server: str) -> tuple[str, ...]:
    """The paths of the lists of images in an index. Raises Remote."""
    found = _decoded(content, Index, f"the index of {server}")
    return tuple(_safe(entry.path, server) for entry in found.index.values() if entry.datatype == _DATATYPE)


def products(content: bytes, *, server: str) -> tuple[Product, ...]:
    """The products of a list. Raises Remote."""
    return tuple(_decoded(content, Products, f"the list of images of {server}").products.values())


def matching(known: tuple[Product, ...], words: str, architecture: str) -> tuple[Product, ...]:
    """The products with `words` in one of their names, by name; of `architecture`, or of all where that is empty."""
    fitting = [
        product
        for product in known
        if product.names and architecture in ("", product.arch) and any(words in name for name in product.names)
    ]
    return tuple(sorted(fitting, key=lambda product: (product.names[0], product.arch)))


def choose(known: tuple[Product, ...], name: str, architecture: str, *, server: str, has_squashfs: bool) -> Choice:
    """The files of the newest version of what is called `name`: "debian/12", "debian/12/cloud".

    A last part that is an architecture chooses it. Raises NotFound, which names what is near; Unsupported, Remote."""
    named = [product for product in known if name in product.names]
    rest, _, last = name.rpartition("/")
    if not named and last in {product.arch for product in known}:
        named, architecture = [product for product in known if rest in product.names], last
    if not named:
        raise _no_such(known, name, architecture, server)
    fitting = [product for product in named if product.arch == architecture]
    if not fitting:
        there = ", ".join(sorted({product.arch for product in named}))
        raise NotFound(f"{server} has no {name!r} for {architecture}", hint=f"there is {there}", name=name)
    product = sorted(fitting, key=lambda product: product.variant != "default")[0]
    for version in sorted(product.versions, reverse=True):
        choice = _choice(product, version, server, has_squashfs=has_squashfs)
        if choice:
            return choice
    raise Unsupported(f"{server} has {name!r}, but no version of it is a container in a format known here", name=name)


def _choice(product: Product, version: str, server: str, *, has_squashfs: bool) -> Choice | None:
    """The files of a version; None where it holds none for a container."""
    by_type = {item.ftype: item for item in product.versions[version].items.values()}
    metadata = next((by_type[kind] for kind in METADATA if kind in by_type), None)
    kinds = (SQUASHFS, TAR) if has_squashfs else (TAR,)
    rootfs = next((by_type[kind] for kind in kinds if kind in by_type), None)
    if metadata is None or rootfs is None:
        metadata, rootfs = None, next((by_type[kind] for kind in UNIFIED if kind in by_type), None)
    if rootfs is None:
        return None
    for item in (metadata, rootfs):
        if item is not None:
            _check(item, server)
    named = [getattr(metadata, field) for field in _COMBINED.get(rootfs.ftype, ())] if metadata else []
    combined = next((digest for digest in named if digest), "")
    return Choice(product, version, metadata, rootfs, combined)


def _check(item: Item, server: str) -> None:
    """Raises Remote for a file that cannot be verified, or whose path leads elsewhere."""
    _safe(item.path, server)
    if len(item.sha256) != 64 or set(item.sha256.lower()) - set("0123456789abcdef") or item.size <= 0:
        raise Remote(f"{server} names no size or no sha256 of {item.path!r}, so that it cannot be verified")


def _safe(path: str, server: str) -> str:
    if not path or path.startswith("/") or "://" in path or ".." in path.split("/"):
        raise Remote(f"{server} names {path[:80]!r} as a file, which is no path below it")
    return path


def _no_such(known: tuple[Product, ...], name: str, architecture: str, server: str) -> NotFound:
    import difflib

    names = sorted({alias for product in known if product.arch == architecture for alias in product.names})
    near = [alias for alias in names if alias.startswith(f"{name}/")] or difflib.get_close_matches(name, names, n=5)
    hint = f"there is {', '.join(near[:8])}" if near else "`cloison image search` lists what there is"
    return NotFound(f"{server} has no image {name!r}", hint=hint, name=name, near=tuple(near[:8]))


def _decoded(content: bytes, shape: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.MsgspecError as problem:
        raise Remote(f"{what} cannot be read: {problem}") from problem
