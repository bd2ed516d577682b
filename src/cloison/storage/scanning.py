"""What is in a stack of directories, as overlayfs would show it: whiteouts hide, opaque directories end what is below.

A directory is looked into once, all layers at a time, and no descriptor is kept for those above it: a tree may be
deeper than a process has descriptors, and its paths longer than PATH_MAX. Nobody may write there meanwhile.
Source: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = "user.overlay."  # what overlayfs keeps for itself
_OPAQUE = (f"{_OWN}opaque", "trusted.overlay.opaque")
_SAME_CHUNK = 1 << 20


class Kind(Enum):
    """What an entry is. A NODE is a device, a fifo or a socket; a WHITEOUT says that there is nothing any more."""

    DIRECTORY = "d"
    FILE = "f"
    LINK = "l"
    NODE = "n"
    WHITEOUT = "w"


class Item(NamedTuple):
    """An entry of a tree. `directory` is a descriptor, valid until the next item: of the directory that has it under
    `name`, or where `name` is empty, of the entry itself. `is_opaque`: nothing below shines through it."""

    path: str  # relative, without a slash in front; empty for the root
    kind: Kind
    stat: os.stat_result
    directory: int
    name: str
    is_opaque: bool = False

    def opened(self) -> int:
        """A descriptor for its content, owned by the caller."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(self.name, flags, dir_fd=self.directory)

    def target(self) -> str:
        """What a link says."""
        return os.readlink(self.name, dir_fd=self.directory)

    def attributes(self) -> dict[str, bytes]:
        """Its extended attributes, without those of overlayfs itself."""
        at: int | str = self.directory
        if self.name:
            at = f"/proc/self/fd/{self.directory}/{self.name}"
        found = {}
        with contextlib.suppress(OSError):  # a file system, or a kind of file, that has none
            for name in os.listxattr(at, follow_symlinks=not self.name):
                if not name.startswith((_OWN, "trusted.overlay.")):
                    found[name] = os.getxattr(at, name, follow_symlinks=not self.name)
        return found


class _Found(NamedTuple):
    """An entry of one directory of a stack: the first layer that has it, or for a directory all of those."""

    kind: Kind
    stat: os.stat_result
    members: tuple[int, ...]
    is_opaque: bool = False


class _Level:
    """One directory of a stack, open in every layer that makes it up."""

    def __init__(self, roots: Sequence[int], path: str, members: Sequence[int]) -> None:
        self.path = path
        self._fds: dict[int, int] = {}
        self.is_opaque = False
        try:
            for member in members:
                self._fds[member] = open_below(roots[member], path)
                if _is_opaque(self._fds[member]):
                    self.is_opaque = True
                    break
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}

    def __enter__(self) -> "_Level":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def itself(self, *, is_opaque: bool = False) -> Item:
        fd = next(iter(self._fds.values()))
        return Item(self.path, Kind.DIRECTORY, os.fstat(fd), fd, "", is_opaque or self.is_opaque)

    def item(self, name: str, found: _Found) -> Item:
        path = f"{self.path}/{name}" if self.path else name
        return Item(path, found.kind, found.stat, self._fds[found.members[0]], name, found.is_opaque)

    def entries(self) -> dict[str, _Found]:
        """What there is in it, by name, whiteouts of the uppermost layer that says something included."""
        found: dict[str, _Found] = {}
        ended: set[str] = set()
        for member, fd in self._fds.items():
            with os.scandir(fd) as listed:
                for entry in listed:
                    if entry.name in ended:
                        continue
                    about = entry.stat(follow_symlinks=False)
                    kind, above = kind_of(about), found.get(entry.name)
                    if kind is not Kind.DIRECTORY:
                        ended.add(entry.name)
                        found[entry.name] = _Found(kind, about, (member,)) if above is None else _ending(above)
                    elif above is None:
                        found[entry.name] = _Found(kind, about, (member,))
                    else:
                        found[entry.name] = above._replace(members=(*above.members, member))
        return dict(sorted(found.items()))


def _ending(above: _Found) -> _Found:
    return above._replace(is_opaque=True)


def kind_of(about: os.stat_result) -> Kind:
    """The kind of what lies in a layer."""
    if stat.S_ISREG(about.st_mode):
        return Kind.FILE
    if stat.S_ISDIR(about.st_mode):
        return Kind.DIRECTORY
    if stat.S_ISLNK(about.st_mode):
        return Kind.LINK
    return Kind.WHITEOUT if stat.S_ISCHR(about.st_mode) and about.st_rdev == 0 else Kind.NODE


def open_below(root: int, path: str) -> int:
    """The directory `path` below the directory `root`, however long the path is; "" for `root` once more.

    Name by name: what a stream or a guest has put on the way, such as a link, is not followed."""
    fd = os.open(".", _DIRECTORY, dir_fd=root)
    for name in path.split("/") if path else ():
        try:
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _is_opaque(directory: int) -> bool:
    for name in _OPAQUE:
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"y":
                return True
    return False


@contextlib.contextmanager
def _opened(layers: Sequence[str]) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        fds = []
        for path in layers:
            # Not O_NOFOLLOW: the path of a layer is cloison's own, and may go through /proc/self/fd.
            fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            stack.callback(os.close, fds[-1])
        yield fds


def scan(layers: Sequence[str], *, is_part: bool = False) -> Iterator[Item]:
    """Everything in a stack of directories, the uppermost first; a directory comes before what is in it.

    `is_part`: there will be others below; then what hides something there is told as well."""
    with _opened(layers) as roots:
        pending: deque[tuple[str, tuple[int, ...], bool]] = deque([("", tuple(range(len(roots))), False)])
        while pending:
            path, members, is_opaque = pending.popleft()
            with _Level(roots, path, members) as level:
                yield level.itself(is_opaque=is_opaque)
                for name, found in level.entries().items():
                    if found.kind is Kind.DIRECTORY:
                        pending.append((f"{path}/{name}" if path else name, found.members, found.is_opaque))
                    elif is_part or found.kind is not Kind.WHITEOUT:
                        yield level.item(name, found)


def delta(older: Sequence[str], newer: Sequence[str]) -> Iterator[tuple[str, Item]]:
    """What leads from one stack of directories to another, as ("added" | "changed" | "removed", item); "" for a
    directory that is as it was, and in which something has changed or may have.

    What is removed is a whiteout; of a directory, it is all that is told. Hard links are compared as files."""
    with _opened(older) as before, _opened(newer) as after:
        pending = deque([("", tuple(range(len(before))), tuple(range(len(after))))])
        while pending:
            path, old_members, new_members = pending.popleft()
            with _Level(after, path, new_members) as new, _Level(before, path, old_members) as old:
                olds = _without_whiteouts(old.entries())
                news = _without_whiteouts(new.entries())
                item, was = new.itself(), old.itself()
                yield "" if is_same(was, item) else "changed", item._replace(is_opaque=False)
                for name in olds.keys() - news.keys():
                    yield "removed", old.item(name, olds[name])._replace(kind=Kind.WHITEOUT)
                for name, found in news.items():
                    present = olds.get(name)
                    both_directories = present is not None and present.kind is found.kind is Kind.DIRECTORY
                    if present is not None and both_directories:
                        pending.append((f"{path}/{name}" if path else name, present.members, found.members))
                        continue
                    item = new.item(name, found)
                    if present is None or present.kind is not found.kind:
                        what = "added" if present is None else "changed"
                        yield from _whole(after, what, item, found)
                    elif not is_same(old.item(name, present), item):
                        yield "changed", item


def _without_whiteouts(entries: dict[str, _Found]) -> dict[str, _Found]:
    return {name: found for name, found in entries.items() if found.kind is not Kind.WHITEOUT}


def _whole(roots: Sequence[int], what: str, item: Item, found: _Found) -> Iterator[tuple[str, Item]]:
    """An entry that is new, with everything in it."""
    if found.kind is not Kind.DIRECTORY:
        yield what, item
        return
    pending = deque([(item.path, found.members)])
    while pending:
        path, members = pending.popleft()
        with _Level(roots, path, members) as level:
            yield what, level.itself()._replace(is_opaque=path == item.path and what == "changed")
            for name, inner in _without_whiteouts(level.entries()).items():
                if inner.kind is Kind.DIRECTORY:
                    pending.append((f"{path}/{name}", inner.members))
                else:
                    yield what, level.item(name, inner)


def is_same(one: Item, other: Item) -> bool:
    """Whether two entries of one kind are alike: by owner, mode, times and length; what has been touched since without
    a trace of that in its times is read."""
    a, b = one.stat, other.stat
    if (a.st_dev, a.st_ino, a.st_ctime_ns) == (b.st_dev, b.st_ino, b.st_ctime_ns):
        return True
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
        return False
    if one.attributes() != other.attributes():
        return False
    match one.kind:
        case Kind.LINK:
            return one.target() == other.target()
        case Kind.FILE:
            return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns) and _is_same_content(one, other)
        case _:
            return True


def _is_same_content(one: Item, other: Item) -> bool:
    a, b = one.opened(), other.opened()
    try:
        at = 0
        while True:
            left, right = os.pread(a, _SAME_CHUNK, at), os.pread(b, _SAME_CHUNK, at)
            if left != right:
                return False
            if not left:
                return True
            at += len(left)
    finally:
        os.close(a)
        os.close(b)
