"""Archives and directories taken into the store. What they are, their content says.

    tar, plain or compressed    by its first names: Docker's or the OCI's documents; metadata.yaml or rootfs/, of LXD,
                                Incus or LXC; else a root file system, as OpenVZ's templates and mmdebstrap's archives
    squashfs                    a root file system
    a directory                 with index.json and blobs/: the OCI's; with rootfs/ and metadata beside it: LXD's or
                                LXC's; else a root file system

Everything happens in a workspace of the store, which takes the images over when all of them are whole.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Invalid
from cloison.images import oci
from cloison.images.archives import files, squashfs
from cloison.images.archives.bundles import Bundle, DirectoryBundle, FileBundle, streamed
from cloison.images.archives.files import Peeked
from cloison.images.archives.lxd import Metadata, lxc_templates, metadata_of, of_lxc
from cloison.images.archives.manifests import Found, found_in
from cloison.images.archives.wish import Wish
from cloison.images.building import Progress
from cloison.images.compression import kind_of
from cloison.images.image import Facts, Image
from cloison.images.incoming import Incoming
from cloison.images.layers import measure, pack
from cloison.images.layout import Layer, config_of
from cloison.images.system import System, look
from cloison.kernel import paths

if TYPE_CHECKING:
    from cloison.images.store import ImageStore

_BLOB = re.compile(  # "sha256:…" and ….tar.gz are of crane, ko and kaniko, config.json is of jib
    r"blobs(/.*)?|(sha256:)?[0-9a-f]{64}(/.*|\.json|\.tar(\.gz)?)?|oci-layout|(index|manifest|config)\.json|repositories"
)
_BESIDE = frozenset({"metadata.yaml", "templates", "config", "create-message", "config-user", "backup.yaml"})
_OPENVZ = re.compile(r"([a-z]+)-([0-9][0-9.]*|[a-z]+)-(x86_64|amd64|x86|i386|i686|aarch64|arm64)(?:-([a-z0-9._-]+))?")
_MACHINES = {"x86_64": "amd64", "x86": "i386", "i686": "i386", "aarch64": "arm64"}
_ENDINGS = re.compile(r"\.(tar|tgz|txz|tzst|gz|xz|zst|bz2|tbz2|squashfs|sqfs|img)$")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def take_in(store: "ImageStore", path: str, wish: Wish, progress: Progress, *, rootfs: str = "") -> tuple[Image, ...]:
    """The images in the file or directory `path`, in the store. With `rootfs`, a second file, `path` are its metadata.

    Raises NotFound, Invalid, Unsupported, NoSpace; then the store is as it was."""
    wish = wish.named_after(path)
    if os.path.isdir(path):
        return _from_directory(store, path, wish, progress)
    fd = files.opened(path)
    try:
        if rootfs:
            root = files.opened(rootfs)
            try:
                with store.incoming(wish.limits) as work:
                    return (split(work, files.chunks(fd), files.chunks(root), wish, progress),)
            finally:
                os.close(root)
        return _from_file(store, fd, wish, progress)
    finally:
        os.close(fd)


def take_stream(store: "ImageStore", chunks: Iterable[bytes], wish: Wish, progress: Progress) -> tuple[Image, ...]:
    """The images in an archive that comes as a stream, and is read once. Raises as `take_in`."""
    with store.incoming(wish.limits) as work:
        return streamed_in(work, chunks, wish, progress)


def streamed_in(work: Incoming, chunks: Iterable[bytes], wish: Wish, progress: Progress) -> tuple[Image, ...]:
    """The same, in a workspace of the caller's."""
    peeked = Peeked(iter(chunks))
    if kind_of(peeked.first()) == "squashfs":
        return (_from_root(work, wish, unpack_root(work, peeked.chunks(), progress)),)
    names = files.first_names(peeked.look(), wish.limits)
    if _is_bundle(names):
        heard = _heard(progress, None)
        return _from_bundle(work, streamed(work, peeked.chunks(), heard), wish, progress)
    return _from_tar(work, names, peeked.chunks(), wish, progress, None)


def split(work: Incoming, metadata: Iterable[bytes], rootfs: Iterable[bytes], wish: Wish, progress: Progress) -> Image:
    """An image of LXD, Incus or LXC in two parts: an archive of metadata, and a tar or squashfs of the root file
    system. Raises as `take_in`."""
    found = files.small_files(iter(metadata), wish.limits)
    if not _BESIDE & {name.partition("/")[0] for name in found}:
        raise Invalid("the first archive has no metadata: neither metadata.yaml nor LXC's config is in it")
    layer = unpack_root(work, rootfs, progress)
    return _from_root(work, wish, layer, _metadata(found, work.directories((layer,))[0]))


def unpack_root(work: Incoming, chunks: Iterable[bytes], progress: Progress) -> Layer:
    """A root file system as a layer: a tar, compressed or not, or a squashfs, which is written down for its reader."""
    peeked = Peeked(iter(chunks))
    if kind_of(peeked.first()) != "squashfs":
        return work.unpack(peeked.chunks(), progress=_heard(progress, None))
    path = f"{work.path}/squashfs"
    with open(path, "w+b") as file:
        for chunk in peeked.chunks():
            file.write(chunk)
        file.flush()
        os.unlink(path)
        return work.unpack(squashfs.as_tar(file.fileno()), progress=_heard(progress, None))


def _from_file(store: "ImageStore", fd: int, wish: Wish, progress: Progress) -> tuple[Image, ...]:
    total = os.fstat(fd).st_size
    kind = kind_of(os.pread(fd, 512, 0))
    with store.incoming(wish.limits) as work:
        if kind == "squashfs":
            # Its reader has root's id and none of root's power: it opens only what is root's own.
            is_own = os.fstat(fd).st_uid == os.geteuid()
            heard = _heard(progress, None)
            layer = (
                work.unpack(squashfs.as_tar(fd), progress=heard)
                if is_own
                else unpack_root(work, files.chunks(fd), progress)
            )
            return (_from_root(work, wish, layer),)
        if kind != "tar":
            peeked = Peeked(files.chunks(fd))
            names = files.first_names(peeked.look(), wish.limits)
            os.lseek(fd, 0, os.SEEK_SET)
            if _is_bundle(names):
                bundle = streamed(work, files.chunks(fd), _heard(progress, total))
                return _from_bundle(work, bundle, wish, progress)
            return _from_tar(work, names, files.chunks(fd), wish, progress, total)
        names = files.first_names(os.pread(fd, 1 << 20, 0), wish.limits)
        if _is_bundle(names):
            return _from_bundle(work, FileBundle(fd, wish.limits), wish, progress)
        return _from_tar(work, names, files.chunks(fd), wish, progress, total)


def _from_directory(store: "ImageStore", path: str, wish: Wish, progress: Progress) -> tuple[Image, ...]:
    with store.incoming(wish.limits) as work:
        if os.path.isfile(f"{path}/index.json") and (os.path.isdir(f"{path}/blobs")):
            bundle = DirectoryBundle(path)
            try:
                return _from_bundle(work, bundle, wish, progress)
            finally:
                bundle.close()
        metadata = Metadata()
        if os.path.isdir(f"{path}/rootfs") and any(os.path.exists(f"{path}/{name}") for name in _BESIDE):
            metadata = _metadata(_beside(path), f"{path}/rootfs")
            path = f"{path}/rootfs"
        layer = work.unpack(pack(path), progress=_heard(progress, None))
        return (_from_root(work, wish, layer, metadata),)


def _from_tar(
    work: Incoming, names: list[str], chunks: Iterator[bytes], wish: Wish, progress: Progress, total: int | None
) -> tuple[Image, ...]:
    """A root file system, or one below `rootfs/` with its metadata beside it."""
    if not _has_metadata(names):
        return (_from_root(work, wish, work.unpack(chunks, progress=_heard(progress, total))),)
    place = work.extract(chunks, progress=_heard(progress, total))
    rootfs = f"{place}/rootfs"
    if not os.path.isdir(rootfs) or os.path.islink(rootfs):
        raise Invalid(
            "the archive has metadata, but no root file system: it is one half of a split image",
            hint="cloison image import METADATA --rootfs FILE",
        )
    metadata = _metadata(_beside(place), rootfs)
    layer = measure(rootfs, lambda done: progress("measure", done, None))
    work.adopt(rootfs, layer)
    return (_from_root(work, wish, layer, metadata),)


def _from_bundle(work: Incoming, bundle: Bundle, wish: Wish, progress: Progress) -> tuple[Image, ...]:
    """All images of a bundle, or the one that was wished for."""
    found = found_in(bundle, wish.platform, is_chosen=wish.is_platform_chosen)
    if wish.only:
        found = tuple(each for each in found if wish.only in each.names)
        if not found:
            raise Invalid(
                f"the archive holds no image {wish.only!r}", hint="without --only all of its images are taken"
            )
    if len(found) > 1 and wish.names:
        names = ", ".join(name for each in found for name in each.names)
        raise Invalid(f"the archive holds {len(found)} images: {names}", hint="choose one with --only, or give no name")
    ready = [(each, _unpacked(work, bundle, each, progress)) for each in found]
    images = []
    for each, layers in ready:
        facts = oci.facts_of(each.config, names=wish.names or _usable(each.names), source=wish.source)
        if not facts.architecture:
            facts = msgspec.structs.replace(facts, architecture=wish.platform.debian)
        images.append(work.finish(each.config, wish.applied(facts), layers))
    return tuple(images)


def _unpacked(work: Incoming, bundle: Bundle, found: Found, progress: Progress) -> tuple[Layer, ...]:
    diff_ids = oci.diff_ids_of(found.config)
    if len(diff_ids) != len(found.layers):
        raise Invalid(
            f"the image's manifest names {len(found.layers)} layers, and its config {len(diff_ids)}",
            hint="the archive was damaged or changed; get it again",
        )
    layers = []
    for number, (name, diff_id) in enumerate(zip(found.layers, diff_ids, strict=True), 1):
        stage = f"layer {number} of {len(diff_ids)}"
        layer = work.layer_of(diff_id)
        if layer is None:
            layer = bundle.unpack(work, name, diff_id, lambda done, stage=stage: progress(stage, done, None))  # type: ignore[misc]
        layers.append(layer)
    return tuple(layers)


def _from_root(work: Incoming, wish: Wish, layer: Layer, metadata: Metadata | None = None) -> Image:
    """An image of one layer, which is a root file system."""
    metadata = metadata or Metadata()
    system = look(work.directories((layer,)))
    facts = wish.applied(_facts(wish, system, metadata))
    left_out = tuple(f"{count} times left out: {what}" for what, count in sorted(work.left_out.items()))
    warnings = "; ".join((*metadata.warnings, *left_out))
    if warnings:
        facts = msgspec.structs.replace(facts, properties={**facts.properties, "warning": warnings})
    return work.finish(msgspec.json.encode(config_of(facts, (layer,))), facts, (layer,))


def _facts(wish: Wish, system: System, metadata: Metadata) -> Facts:
    """What is known of a root file system: by its own files, then by its metadata, then by the archive's name."""
    named = _OPENVZ.fullmatch(_stem(wish.source))
    said = metadata.properties
    os_name = system.os or said.get("os", "").lower() or (named[1] if named else "")
    release = system.release or said.get("release", "") or (named[2] if named else "")
    machine = _MACHINES.get(named[3], named[3]) if named else ""
    properties = dict(said)
    if named and named[4]:
        properties.setdefault("variant", named[4])
    if system.description:
        properties.setdefault("description", system.description)
    is_system = bool(system.stop_signal)
    return Facts(
        names=wish.names or _usable((_stem(wish.source),)),
        os=os_name,
        release=release,
        architecture=system.architecture or metadata.architecture or machine or wish.platform.debian,
        command=("/sbin/init",) if is_system else ("/bin/sh",),
        env=(_PATH,),
        stop_signal=system.stop_signal or "SIGTERM",
        template="",
        is_system=is_system,
        source=wish.source,
        properties=properties,
        templates=metadata.templates,
    )


def _metadata(found: Mapping[str, bytes], rootfs: str) -> Metadata:
    """What the files beside a root file system say."""
    if "metadata.yaml" in found:
        return metadata_of(found["metadata.yaml"], found)
    with paths.held(rootfs) as root:
        read = {}
        for path in lxc_templates(found):
            with contextlib.suppress(OSError):
                read[path] = paths.read_in_root(root, path)
        return of_lxc(found, read)


def _beside(place: str) -> dict[str, bytes]:
    """The small files beside `rootfs` in a directory, those of `templates` too; what is no file is as if it were not
    there. Raises Invalid for one that is not small."""
    found: dict[str, bytes] = {}
    with paths.held(place) as root:
        names = [name for name in os.listdir(place) if name in _BESIDE]
        if os.path.isdir(f"{place}/templates") and not os.path.islink(f"{place}/templates"):
            names += [f"templates/{name}" for name in os.listdir(f"{place}/templates")]
        for name in names:
            with contextlib.suppress(OSError):
                found[name] = paths.read_in_root(root, name)
            if len(found.get(name, b"")) >= paths.MAX_FILE:
                raise Invalid(
                    f"{name} of the archive has a MiB or more, and metadata and templates are small texts",
                    hint="pack such a file into the root file system",
                )
    return found


def _is_bundle(names: list[str]) -> bool:
    return bool(names) and all(_BLOB.fullmatch(name) for name in names[:8])


def _has_metadata(names: list[str]) -> bool:
    tops = {name.partition("/")[0] for name in names}
    return tops <= _BESIDE | {"rootfs"} and bool(tops)


def _usable(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that can be names of images here."""
    from cloison.images.changes import check_name

    good = []
    for name in names:
        with contextlib.suppress(Invalid):
            check_name(name)
            good.append(name)
    return tuple(good)


def _stem(path: str) -> str:
    """The name of an archive without its endings: "debian-12-x86_64"."""
    name = os.path.basename(path).lower()
    while (shorter := _ENDINGS.sub("", name)) != name:
        name = shorter
    return name


def _heard(progress: Progress, total: int | None) -> Callable[[int], None]:
    return lambda done: progress("unpack", done, total)
