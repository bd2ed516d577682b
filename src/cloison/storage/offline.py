"""Files of an instance that does not run, seen and written as overlayfs will show them.

Every step of a path is taken by descriptor, and no symbolic link is followed: what a guest has put there leads
nowhere. Source: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from cloison.storage.driver import RootLayers

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")
MAX_FILE = 1 << 16


class Kind(Enum):
    """What there is under a name; OTHER is a directory, a device, or a file too large to be looked at."""

    ABSENT = "absent"
    FILE = "file"
    LINK = "link"
    OTHER = "other"


class Seen(msgspec.Struct, frozen=True):
    """What there is under a path: `data` is a file's content or a link's target. `is_own`: the instance's own layer
    has it, not its image."""

    kind: Kind
    data: bytes = b""
    is_own: bool = False


def look(layers: RootLayers, path: str) -> Seen:
    """What the instance finds at `path`, relative to its root. A directory of the path that is a link is OTHER."""
    directory, _, name = path.strip("/").rpartition("/")
    return look_among(layers, directory, (name,))[0]


def look_among(layers: RootLayers, directory: str, names: Iterable[str]) -> tuple[Seen, ...]:
    """The same for each name in one directory, to which the way is gone once."""
    with _merged(layers, [part for part in directory.split("/") if part]) as found:
        return tuple(Seen(Kind.OTHER) if found is None else _uppermost(found, name) for name in names)


def _uppermost(directories: list[tuple[int, bool]], name: str) -> Seen:
    for directory, is_own in directories:
        seen = _entry(directory, name)
        if seen is not None:
            return msgspec.structs.replace(seen, is_own=is_own)
    return Seen(Kind.ABSENT)


def write(layers: RootLayers, path: str, data: bytes, owner: tuple[int, int] = (0, 0), mode: int = 0o644) -> None:
    """Put a file into the instance's own layer, whole or not at all; directories on the way are made. Only while it
    does not run. Raises OSError, also where a link or a file is in the way."""
    *parents, name = path.strip("/").split("/")
    directory = os.open(layers.upper, _DIRECTORY)
    try:
        for depth, parent in enumerate(parents, 1):
            if _mode(directory, parent) is None:
                _make_like(layers, parents[:depth], directory)
            below = os.open(parent, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        _replace(directory, name, data, owner, mode)
    finally:
        os.close(directory)


def make_directory(layers: RootLayers, path: str) -> None:
    """Make a directory in the instance's own layer, and those on the way to it, where there is nothing yet. Only while
    it does not run."""
    parts = path.strip("/").split("/")
    directory = os.open(layers.upper, _DIRECTORY)
    try:
        for depth, name in enumerate(parts, 1):
            if look(layers, "/".join(parts[:depth])).kind is Kind.LINK:
                return
            if _mode(directory, name) is None:
                _make_like(layers, parts[:depth], directory)
            below = os.open(name, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
    finally:
        os.close(directory)


def _make_like(layers: RootLayers, path: list[str], directory: int) -> None:
    """Make the last directory of `path` in the instance's own layer: its owner and mode cover those of the image's
    directory, so they are the same; 0755 and root's, where there is none."""
    with _merged(layers, path) as found:
        below = os.fstat(found[0][0]) if found else None
    os.mkdir(path[-1], 0o700, dir_fd=directory)
    if below is not None:
        os.chown(path[-1], below.st_uid, below.st_gid, dir_fd=directory, follow_symlinks=False)
    os.chmod(path[-1], stat.S_IMODE(below.st_mode) if below is not None else 0o755, dir_fd=directory)


def _replace(directory: int, name: str, data: bytes, owner: tuple[int, int], mode: int) -> None:
    beside = f".cloison-{os.urandom(6).hex()}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if owner != (0, 0):
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
        os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=directory)
        raise


@contextlib.contextmanager
def _merged(layers: RootLayers, parents: list[str]) -> Iterator[list[tuple[int, bool]] | None]:
    """The directories that make up one, the uppermost first, with whether it is the instance's own; None where
    something else than a directory is on the way."""
    with contextlib.ExitStack() as stack:
        level = []
        for path in (layers.upper, *layers.lower):
            level.append((os.open(path, _DIRECTORY), path == layers.upper))
            stack.callback(os.close, level[-1][0])
        for parent in parents:
            below: list[tuple[int, bool]] = []
            for directory, is_own in level:
                mode = _mode(directory, parent)
                if mode is None:
                    continue
                if not stat.S_ISDIR(mode):
                    if not below and not _is_whiteout(directory, parent):
                        yield None
                        return
                    break
                below.append((os.open(parent, _DIRECTORY, dir_fd=directory), is_own))
                stack.callback(os.close, below[-1][0])
                if _is_opaque(below[-1][0]):
                    break
            level = below
        yield level


def _mode(directory: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _entry(directory: int, name: str) -> Seen | None:
    """What one layer says of a name; None where it says nothing."""
    mode = _mode(directory, name)
    if mode is None:
        return None
    if stat.S_ISLNK(mode):
        return Seen(Kind.LINK, os.fsencode(os.readlink(name, dir_fd=directory)))
    if _is_whiteout(directory, name):
        return Seen(Kind.ABSENT)
    if not stat.S_ISREG(mode):
        return Seen(Kind.OTHER)
    fd = os.open(name, _FILE, dir_fd=directory)
    try:
        data = os.read(fd, MAX_FILE + 1)
    finally:
        os.close(fd)
    return Seen(Kind.FILE, data) if len(data) <= MAX_FILE else Seen(Kind.OTHER)


def _is_whiteout(directory: int, name: str) -> bool:
    """A character device 0:0 hides what lower layers have under this name."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(directory: int) -> bool:
    for name in _OPAQUE:
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"y":
                return True
    return False
