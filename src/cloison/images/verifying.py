"""Whether a store still has what was put there: every document and every layer, held against its digest.

A layer's stream is made again and hashed, which reads every file; and what the stream says of each file (owner, mode,
time, link, attributes) is compared with the file: the headers of the stream are kept beside the files, not in them.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import CloisonError
from cloison.images import blobs
from cloison.images.image import Image
from cloison.images.layout import Layer, Manifest, hex_of
from cloison.images.limits import Limits
from cloison.images.tar.member import Kind, Member
from cloison.images.tar.reading import Tar
from cloison.images.tar.source import Source
from cloison.images.xattrs import reason_to_leave_out
from cloison.kernel import paths

if TYPE_CHECKING:
    from cloison.images.store import ImageStore

Progress = Callable[[str, int, int | None], None]

_UNLIMITED = Limits(1 << 62, 1 << 62, 1 << 62, 1 << 62, 1 << 62, 1 << 62)
_MOST_NAMED = 5  # files of one layer; where more are damaged, these will do
_TYPES = {
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FIFO: stat.S_IFIFO,
}


class Verdict(msgspec.Struct, frozen=True):
    """What was found of one image; `damage` is empty where everything is as it was."""

    name: str
    digest: str
    damage: tuple[str, ...]


def verify(store: "ImageStore", images: tuple[Image, ...], progress: Progress) -> tuple[Verdict, ...]:
    """A verdict on each of these images. A layer that several have is read once."""
    layers = {layer.diff_id: layer for image in images for layer in store.layers_of(image)}
    total = sum(layer.size_bytes for layer in layers.values())
    damage: dict[str, tuple[str, ...]] = {}
    done = 0
    for diff_id, layer in layers.items():
        damage[diff_id] = _of_layer(store, layer, lambda more, done=done: progress("verify", done + more, total))  # type: ignore[misc]
        done += layer.size_bytes
    return tuple(
        Verdict(
            image.names[0] if image.names else hex_of(image.digest)[:12],
            image.digest,
            (
                *_of_documents(store, image),
                *(each for layer in dict.fromkeys(store.layers_of(image)) for each in damage[layer.diff_id]),
            ),
        )
        for image in images
    )


def _of_documents(store: "ImageStore", image: Image) -> Iterator[str]:
    try:
        manifest = msgspec.json.decode(blobs.get(store.blobs_dir, image.digest), type=Manifest)
        blobs.get(store.blobs_dir, manifest.config.digest)
    except (CloisonError, OSError, msgspec.MsgspecError) as problem:
        yield str(problem)
        return
    if tuple(layer.digest for layer in manifest.layers) != tuple(layer.diff_id for layer in store.layers_of(image)):
        yield "the index names other layers than the manifest"


def _of_layer(store: "ImageStore", layer: Layer, heard: Callable[[int], None]) -> tuple[str, ...]:
    """What is wrong with a layer."""
    shown = f"layer {hex_of(layer.diff_id)[:12]}"
    directory = f"{store.layers_dir}/{hex_of(layer.diff_id)}"
    if not os.path.isdir(directory):
        return (f"{shown} is missing",)
    digest = hashlib.sha256()
    last: dict[bytes, Member] = {}
    done = 0

    def chunks() -> Iterator[bytes]:
        nonlocal done
        for chunk in store.stream(layer.diff_id):
            digest.update(chunk)
            done += len(chunk)
            heard(done)
            yield chunk

    try:
        source = Source(chunks())
        for member in Tar(source, lambda _piece: None, _UNLIMITED).members():
            source.skip(member.size)
            name = b"/".join(part for part in member.name.split(b"/") if part not in (b"", b"."))
            last[name] = member
    except (CloisonError, OSError) as problem:
        return (f"{shown}: {problem}",)
    if digest.hexdigest() != hex_of(layer.diff_id):
        return (f"{shown} has other contents: its digest is sha256:{digest.hexdigest()}",)
    found = [*_changed(directory, last), *_added(directory, last)]
    more = (f"{shown}: and {len(found) - _MOST_NAMED} more files",) if len(found) > _MOST_NAMED else ()
    return (*(f"{shown}: {each}" for each in found[:_MOST_NAMED]), *more)


def _changed(directory: str, members: dict[bytes, Member]) -> Iterator[str]:
    """Files that are not what the stream says of them."""
    with paths.held(directory) as root:
        for name, member in members.items():
            above, _, last = name.rpartition(b"/")
            if last.startswith(b".wh.") or (member.kind is Kind.CHARACTER and member.device == (0, 0)):
                continue
            try:
                parent = paths.open_in_root(root, above or b".", os.O_PATH | os.O_DIRECTORY)
                try:
                    found = os.stat(last or b".", dir_fd=parent, follow_symlinks=False)
                    link = os.readlink(last, dir_fd=parent) if stat.S_ISLNK(found.st_mode) else b""
                    why = _difference(member, found, link) or _lost(member, parent, last)
                finally:
                    os.close(parent)
            except OSError as problem:
                if member.kind not in (Kind.CHARACTER, Kind.BLOCK):  # which are left out where they cannot be made
                    yield f"{os.fsdecode(name)!r} cannot be seen: {problem.strerror}"
                continue
            if why:
                yield f"{os.fsdecode(name) or '.'!r} has {why}"


def _difference(member: Member, found: os.stat_result, link: bytes) -> str:
    if member.kind is Kind.HARD_LINK:
        return ""
    if stat.S_IFMT(found.st_mode) != _TYPES[member.kind]:
        return "become another kind of file"
    kept = 0o1777 if member.kind in (Kind.CHARACTER, Kind.BLOCK, Kind.FIFO) else 0o7777
    if member.kind is not Kind.SYMLINK and stat.S_IMODE(found.st_mode) != member.mode & kept:
        return f"mode {stat.S_IMODE(found.st_mode):04o} instead of {member.mode & kept:04o}"
    if os.geteuid() == 0 and (found.st_uid, found.st_gid) != (member.uid, member.gid):
        return f"owner {found.st_uid}:{found.st_gid} instead of {member.uid}:{member.gid}"
    if member.kind is Kind.FILE and found.st_size != member.file_size:
        return f"{found.st_size} bytes instead of {member.file_size}"
    if member.kind is Kind.SYMLINK and link != member.link:
        return f"the target {os.fsdecode(link)!r} instead of {os.fsdecode(member.link)!r}"
    if abs(found.st_mtime_ns - member.mtime_ns) >= 1_000_000_000:
        return "another time of change"
    return ""


def _lost(member: Member, parent: int, name: bytes) -> str:
    """An extended attribute that is no longer there, or another. The kernel gives capabilities and ACLs back in forms
    of its own, so of these only capabilities are looked for, and that they are there."""
    if member.kind not in (Kind.FILE, Kind.DIRECTORY):
        return ""
    for key, value in member.xattrs.items():
        if key.startswith("system.") or reason_to_leave_out(key):
            continue
        try:
            found = os.getxattr(paths.name_through(parent, name or b"."), key, follow_symlinks=False)
        except OSError as problem:
            if problem.errno == errno.ENODATA:
                return f"lost the attribute {key}"
            continue  # this file system keeps none of these, and never had it
        if found != value and not key.startswith("security."):
            return f"another value of the attribute {key}"
    return ""


def _added(directory: str, members: dict[bytes, Member]) -> Iterator[str]:
    """Files of which the stream says nothing."""
    known = {b""}
    is_clear = True
    for name in members:
        while name and name not in known:
            known.add(name)
            name = name.rpartition(b"/")[0]
            above = members.get(name)
            is_clear = is_clear and not (above is not None and above.kind is Kind.SYMLINK)
    if not is_clear:
        return  # a name leads through a link of the archive's own, so names do not tell what belongs where
    root = os.fsencode(directory)
    for place, directories, names in os.walk(root):
        for name in (*directories, *names):
            path = os.path.join(place, name)
            found = os.lstat(path)
            is_whiteout = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
            if path[len(root) + 1 :] not in known and not is_whiteout:
                yield f"{os.fsdecode(path[len(root) + 1 :])!r} does not belong there"
