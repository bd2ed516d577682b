"""Layers as one tree, or as one that says what it changes: written as a tar stream, without mounting anything.

Source: Documentation/filesystems/overlayfs.rst; image-spec v1.1, layer.md, "Whiteouts".
"""

import errno
import os
import stat
from collections.abc import Iterator

import msgspec

from cloison.base.errors import Host
from cloison.images.tar import writing
from cloison.images.tar.member import Kind, Member, Segment
from cloison.images.xattrs import reason_to_leave_out

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
}
_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")
_READ_BYTES = 1 << 20
_STAT_BLOCK = 512  # the unit of st_blocks, whatever the file system's
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC


class _Seen(msgspec.Struct, frozen=True):
    """A file of the merged tree: its name there, the path on this host, what it is."""

    name: bytes
    path: bytes
    found: os.stat_result


def merged(directories: tuple[str, ...], prefix: str = "") -> Iterator[bytes]:
    """The tar stream of layers, the uppermost first, as an instance over them finds them; names begin with `prefix`.

    It ends without the mark of the end, `writing.END`, so that more can follow. Raises Host for what cannot be read."""
    yield from _stream(_walk(tuple(map(os.fsencode, directories)), b"", is_diff=False), os.fsencode(prefix))


def difference(directory: str) -> Iterator[bytes]:
    """The tar stream of an upper layer of overlayfs, with whiteouts as the OCI has them: a layer over those that it was
    over. With the mark of the end. Raises Host for what cannot be read."""
    yield from _stream(_walk((os.fsencode(directory),), b"", is_diff=True), b"")
    yield writing.END


def _walk(directories: tuple[bytes, ...], name: bytes, *, is_diff: bool) -> Iterator[_Seen]:
    """A directory that is merged of these, the uppermost first, then all that is in it."""
    yield _Seen(name, directories[0], os.lstat(directories[0]))
    if is_diff and name and _is_opaque(directories[0]):
        yield _Seen(name + b"/.wh..wh..opq", b"", os.lstat(directories[0]))
    hidden: set[bytes] = set()
    below: dict[bytes, list[bytes]] = {}
    for directory in directories:
        names = os.listdir(directory)
        gone = set()
        for entry in sorted(names):
            path = directory + b"/" + entry
            found = os.lstat(path)
            if _is_whiteout(found):
                gone.add(entry)
                if is_diff:
                    yield _Seen(_below(name, b".wh." + entry), b"", found)
            elif entry not in hidden:
                if stat.S_ISDIR(found.st_mode):
                    below.setdefault(entry, []).append(path)
                    if _is_opaque(path):
                        gone.add(entry)
                else:
                    gone.add(entry)
                    if entry not in below:
                        yield _Seen(_below(name, entry), path, found)
        hidden |= gone
    for entry in sorted(below):
        yield from _walk(tuple(below[entry]), _below(name, entry), is_diff=is_diff)


def _below(name: bytes, entry: bytes) -> bytes:
    return name + b"/" + entry if name else entry


def _stream(seen: Iterator[_Seen], prefix: bytes) -> Iterator[bytes]:
    """The members, with names of one file after the first as hard links."""
    first: dict[tuple[int, int], bytes] = {}
    try:
        for each in seen:
            kind = _KINDS.get(stat.S_IFMT(each.found.st_mode))
            if kind is None:
                continue  # a socket means nothing without who listens
            name = prefix + each.name
            if not each.path:
                yield writing.header(Member(name, Kind.FILE, 0o644, 0, 0, 0, 0, 0))
                continue
            inode = (each.found.st_dev, each.found.st_ino)
            if kind is not Kind.DIRECTORY and each.found.st_nlink > 1:
                if inode in first:
                    yield writing.header(_member(each, name, Kind.HARD_LINK, first[inode]))
                    continue
                first[inode] = name
            yield from _content(each, name or b".", kind)
    except OSError as problem:
        raise Host(f"a layer of an image cannot be read: {problem.strerror}", path=str(problem.filename)) from problem


def _content(each: _Seen, name: bytes, kind: Kind) -> Iterator[bytes]:
    if kind is not Kind.FILE:
        link = os.readlink(each.path) if kind is Kind.SYMLINK else b""
        yield writing.header(_member(each, name + b"/" if kind is Kind.DIRECTORY else name, kind, link))
        return
    member = _member(each, name, kind, b"")
    member.size = member.file_size = each.found.st_size
    fd = os.open(each.path, _FILE)
    try:
        segments = [(0, member.size)]
        if each.found.st_blocks * _STAT_BLOCK < member.size:
            segments = _pieces(fd, member.size)
            member.segments = tuple(segments)
            member.size = sum(length for _, length in segments)
        yield writing.header(member) if member.segments is None else writing.sparse_header(member)
        for offset, length in segments:
            yield from _part(fd, offset, length, each.path)
    finally:
        os.close(fd)
    if member.size % 512:
        yield writing.padding(member.size)


def _pieces(fd: int, size: int) -> list[Segment]:
    """Where a file has data; all else are holes. Source: lseek(2), SEEK_DATA."""
    found: list[Segment] = []
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:  # a hole to the end
                break
            raise
        at = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
        found.append((begin, at - begin))
    if not found or sum(found[-1]) < size:
        found.append((size, 0))  # GNU tar ends a file where its last piece ends
    return found


def _part(fd: int, offset: int, length: int, path: bytes) -> Iterator[bytes]:
    while length:
        piece = os.pread(fd, min(length, _READ_BYTES), offset)
        if not piece:
            raise Host("a file of a layer became shorter while it was read", path=os.fsdecode(path))
        offset += len(piece)
        length -= len(piece)
        yield piece


def _member(each: _Seen, name: bytes, kind: Kind, link: bytes) -> Member:
    found = each.found
    device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in (Kind.CHARACTER, Kind.BLOCK) else (0, 0)
    mode = stat.S_IMODE(found.st_mode)
    return Member(
        name, kind, mode, found.st_uid, found.st_gid, found.st_mtime_ns, 0, 0, link, device, _xattrs(each.path)
    )


def _xattrs(path: bytes) -> dict[str, bytes]:
    return {
        key: os.getxattr(path, key, follow_symlinks=False)
        for key in os.listxattr(path, follow_symlinks=False)
        if not reason_to_leave_out(key)
    }


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(path: bytes) -> bool:
    return any(
        os.getxattr(path, key, follow_symlinks=False) == b"y"
        for key in os.listxattr(path, follow_symlinks=False)
        if key in _OPAQUE
    )
