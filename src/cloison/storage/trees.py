"""Trees of files that an instance wrote: counted and deleted, however they were made.

A guest may leave a million nested directories, names longer than PATH_MAX, directories of mode 000, links to
anywhere; and the host may have left a mount. So deleting does not recurse: every directory is renamed to the top
of the tree before it is looked into. That keeps descriptors and paths short, follows no link, and refuses mount
points, because rename(2) does: EBUSY for one, EXDEV across one, bind mounts of the same filesystem included.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from cloison.base.errors import Busy

_DELETED = ".deleted-"
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's: stat(2)


def usage_bytes(path: str) -> int:
    """The disk space of everything below `path`, and of itself; a file with several names counts once.

    The tree may change meanwhile; what is too deep for a path is not counted."""
    counted: set[int] = set()
    total, pending = 0, [path]
    device: int | None = None
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):
            stat = os.lstat(current)
            device = stat.st_dev if device is None else device
            if stat.st_dev != device:
                continue
            total += stat.st_blocks * _BLOCK_BYTES
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += _own_bytes(entry, counted)
    return total


def _own_bytes(entry: os.DirEntry[str], counted: set[int]) -> int:
    stat = entry.stat(follow_symlinks=False)
    if stat.st_nlink > 1:
        if stat.st_ino in counted:
            return 0
        counted.add(stat.st_ino)
    return stat.st_blocks * _BLOCK_BYTES


def put_away(path: str) -> str | None:
    """Rename a directory so that it is gone under its name, to be deleted at leisure; its new path, None for one that
    is not there."""
    away = f"{os.path.dirname(os.path.abspath(path))}/{_DELETED}{os.urandom(8).hex()}"
    try:
        os.rename(path, away)
    except FileNotFoundError:
        return None
    return away


def remove(path: str) -> None:
    """Delete a directory, for good; one that is not there is no error.

    It is gone under its name at once; an interrupted deletion is finished by `clean`. Raises Busy where something
    is still mounted below."""
    away = put_away(path)
    if away is not None:
        delete(away)


def clean(directory: str, *, prefix: str = _DELETED) -> tuple[str, ...]:
    """Delete what is in `directory` under a name that begins so, such as what `remove` did not get done with; the paths
    that are gone now."""
    gone = []
    for path in _names(directory, prefix):
        with contextlib.suppress(Busy):  # still mounted: another time
            delete(path)
            gone.append(path)
    return tuple(gone)


def _names(directory: str, prefix: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if name.startswith(prefix)]
    except FileNotFoundError:
        return []


def delete(path: str) -> None:
    """Delete the directory `path` with all that is in it. Raises Busy where something is mounted below.

    Nobody may write there meanwhile. What is gone already is no error: two may delete the same tree."""
    with contextlib.suppress(FileNotFoundError), _mounts_named(path):
        with _opened(path) as top:
            number = 0
            while names := _emptied(top):
                for name in names:
                    number = _flatten(top, name, number)
        os.rmdir(path)


def delete_below(parent: int, name: str) -> None:
    """Delete the directory `name` of an open one, with all that is in it."""
    delete(f"/proc/self/fd/{parent}/{name}")


@contextlib.contextmanager
def _mounts_named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        raise Busy(
            f"cannot delete {path}: something is still mounted there, on a name {problem.filename!r}",
            hint="findmnt shows what it is; unmount it",
            path=path,
        ) from problem


def _flatten(top: int, name: str, number: int) -> int:
    """Remove the directory `name` of `top`; its directories become directories of `top`, named by numbers."""
    number, moved = _lift(top, name, top, number)
    if moved is None:
        return number
    with _opened(moved, top) as fd:
        for child in _emptied(fd):
            number, _ = _lift(fd, child, top, number)
    try:
        os.rmdir(moved, dir_fd=top)
    except OSError as problem:
        # A filesystem may skip names while others are removed. They are seen in the next round.
        if problem.errno != errno.ENOTEMPTY:
            raise
    return number


def _lift(source: int, name: str, top: int, number: int) -> tuple[int, str | None]:
    """Rename the directory `name` to the first free number in `top`; the number, and the name unless it is gone."""
    while True:
        number += 1
        try:
            os.rename(name, str(number), src_dir_fd=source, dst_dir_fd=top)
            return number, str(number)
        except FileNotFoundError:
            return number, None
        except OSError as taken:
            if taken.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise


def _emptied(directory: int) -> list[str]:
    """Remove what is not a directory from `directory`; the names of the directories."""
    names = []
    os.lseek(directory, 0, os.SEEK_SET)  # btrfs shows those names alone that were there at the last time of this
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
    return names


@contextlib.contextmanager
def _opened(path: str, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a directory, which is never a link; who owns it may give himself the permission."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(path, 0o700, dir_fd=parent)
        fd = os.open(path, flags, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)
