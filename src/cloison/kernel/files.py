"""Contents of files, copied by the kernel: shared where the file system can, without their holes; and what file systems
are asked to do with files: have them on the disk, or in another place of it.

Source: ioctl_ficlone(2), since Linux 4.5; copy_file_range(2); lseek(2), SEEK_DATA; syncfs(2); ioctl_iflags(2).
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator

_FICLONE = 0x40049409
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602  # of 64-bit machines; what is exchanged has 32 bits all the same
_TOPDIR = 0x00020000  # chattr +T
_AT_ONCE = 1 << 26


def share(source: int, target: int) -> bool:
    """Make the empty file `target` share the blocks of `source`; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as problem:
        if problem.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ETXTBSY):
            return False
        raise
    return True


def extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are not holes, as (offset, length)."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:
                return
            raise
        at = min(size, os.lseek(fd, begin, os.SEEK_HOLE))
        if at > begin:
            yield begin, at - begin


def copy(source: int, target: int, size: int) -> None:
    """Copy `size` bytes into the empty file `target`, holes as holes."""
    os.ftruncate(target, size)
    for begin, length in extents(source, size):
        _copy_part(source, target, begin, begin + length)


def _copy_part(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        try:
            count = os.copy_file_range(source, target, min(end - begin, _AT_ONCE), begin, begin)
        except OSError as problem:
            if problem.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            count = os.pwrite(target, os.pread(source, min(end - begin, 1 << 20), begin), begin)
        if count == 0:
            return  # it has become shorter meanwhile
        begin += count


def settle_root(pid: int) -> None:
    """Bring everything of the root file system of a process to its disk. Raises OSError where that failed."""
    settle_at(f"/proc/{pid}/root")


def settle_at(directory: str) -> None:
    """Bring everything of the file system of a directory to its disk. Raises OSError where that failed."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        settle(fd)
    finally:
        os.close(fd)


def settle(directory: int) -> None:
    """Bring everything of the file system of an O_PATH descriptor to its disk. Raises OSError where that failed.

    Source: syncfs(2), which tells of such failures since Linux 5.8."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    finally:
        os.close(fd)


def scatter(directory: str) -> None:
    """Ask that what is made in this directory from now on is put far from each other: its entries are trees that have
    nothing to do with each other. Where a file system has no such wish (all but ext2, ext3 and ext4), nothing changes.

    ext4 puts a new directory beside its parent. Without a journal it also leaves an inode alone for minutes after it
    was deleted, and for each new file passes over all of those that are beside it: half a millisecond, for every file
    of a tree, after another one was deleted there. Source: ioctl_iflags(2), FS_TOPDIR_FL."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("=I", fcntl.ioctl(fd, _GETFLAGS, bytes(4)))
            if not flags & _TOPDIR:
                fcntl.ioctl(fd, _SETFLAGS, struct.pack("=I", flags | _TOPDIR))
    finally:
        os.close(fd)
