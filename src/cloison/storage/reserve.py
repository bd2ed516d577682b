"""Space that is kept for what makes space: who runs into a full disk can still stop, and delete.

    <data>/reserve/00 ... 15    files of 128 KiB that mean nothing
    <data>/reserve/lock         shared by who uses that space; who makes the files again takes it alone, or not at all

A full disk would otherwise be a trap: to forget a snapshot, the store has to be written. So whatever gives space back
deletes these files first, where the disk is nearly full, and makes them again at its end; as many as there is room
for, and the next commands the others. Whoever needs space for anything else never gets this.

Many small files, and no large one: they give back inodes too, what room there is can be used to the last of them, and
btrfs frees no part of an extent. Blocks are allocated, not written (posix_fallocate(3)): on ext4, xfs, btrfs and tmpfs
they cannot be had by others then. It is no reserve where the file system keeps no promise of that kind (zfs), nor for
what a btrfs lacks of metadata, which has a reserve of its own for deletions.
"""

import contextlib
import os
from collections.abc import Iterator

from cloison.base.disk import full_disk_named
from cloison.kernel import locks

PIECES = 16
PIECE_BYTES = 128 << 10
LOW_BYTES = 16 << 20  # as much as a deletion never needs, and few disks lack
LOW_INODES = 64


def fill(directory: str) -> None:
    """Make the pieces that are missing, as far as there is room, unless somebody is using their space just now.

    The last one is made last, and deleted first: where it is, all of them are."""
    with contextlib.suppress(OSError):  # a disk that is full, or read-only, is told by what needs it
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with locks.exclusive(f"{directory}/lock"):
            for number in range(PIECES):
                _make(f"{directory}/{number:02}")


def release(directory: str, pieces: int = PIECES) -> None:
    """Give space back: that of so many pieces. Whoever is quick gets it."""
    for number in reversed(range(PIECES)):
        path = f"{directory}/{number:02}"
        with contextlib.suppress(OSError):
            os.truncate(path, 0)  # at once, also where the file system takes its time with deleted files (xfs)
            os.unlink(path)
            pieces -= 1
        if not pieces:
            return


@contextlib.contextmanager
def freeing(directory: str) -> Iterator[None]:
    """For a command that gives space back: it has that of the reserve, where the disk is nearly full. Raises NoSpace
    where that has not been enough."""
    with full_disk_named(os.path.dirname(directory)):
        if not _is_scarce(os.path.dirname(directory)):
            yield
            return
        try:
            with _held(directory):
                release(directory)
                yield
        finally:
            fill(directory)


@contextlib.contextmanager
def _held(directory: str) -> Iterator[None]:
    """Nobody makes the pieces again meanwhile. Without the directory there is nothing to be made or held."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            stack.enter_context(locks.shared(f"{directory}/lock"))
        yield


def _is_scarce(directory: str) -> bool:
    found = os.statvfs(directory)
    has_inodes = found.f_files == 0 or found.f_ffree >= LOW_INODES  # a btrfs counts none
    return found.f_bavail * found.f_frsize < LOW_BYTES or not has_inodes


def _make(path: str) -> None:
    """One piece, whole or not at all; a piece that was killed while it was made is made again."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_size < PIECE_BYTES:
            os.posix_fallocate(fd, 0, PIECE_BYTES)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
