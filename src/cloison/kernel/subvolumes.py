"""Subvolumes of btrfs: made, kept as they are, snapshotted, deleted.

The program btrfs(8) does no more with them than these calls, and takes longer to start than they do. Source:
include/uapi/linux/btrfs.h, struct btrfs_ioctl_vol_args and _v2; btrfs-subvolume(8); btrfs-ioctl(3).
"""

import errno
import fcntl
import os
import struct

ROOT_INODE = 256  # of every subvolume: BTRFS_FIRST_FREE_OBJECTID
_CREATE, _SNAPSHOT, _DELETE = 0x50009418, 0x50009417, 0x5000940F  # SUBVOL_CREATE_V2, SNAP_CREATE_V2, SNAP_DESTROY
_GET_FLAGS, _SET_FLAGS = 0x80089419, 0x4008941A
_READ_ONLY = 1 << 1  # BTRFS_SUBVOL_RDONLY
_ARGUMENTS = struct.Struct("=qQQ32x4040s")  # fd, transid, flags, unused, name
_DELETION = struct.Struct("=q4088s")  # fd, name
_FLAGS = struct.Struct("=Q")


def are_possible(directory: str) -> bool:
    """Whether a directory is in a btrfs: one that is no subvolume's root has no flags (EINVAL), and others have never
    heard of them (ENOTTY)."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _GET_FLAGS, bytes(_FLAGS.size))
    except OSError as problem:
        return problem.errno == errno.EINVAL
    finally:
        os.close(fd)
    return True


def create(path: str) -> None:
    """Make an empty subvolume. Raises OSError: EEXIST, ENOSPC, ENOTTY where there is no btrfs."""
    _call(_CREATE, path, 0, 0)


def snapshot(source: str, path: str, *, is_read_only: bool) -> None:
    """Make a subvolume with all that is in `source` now. Raises OSError, EINVAL where `source` is none."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _call(_SNAPSHOT, path, fd, _READ_ONLY if is_read_only else 0)
    finally:
        os.close(fd)


def delete(path: str) -> None:
    """Delete a subvolume, whatever is in it but for other subvolumes. Raises OSError: ENOENT, ENOTEMPTY for those."""
    parent, name = _apart(path)
    try:
        fcntl.ioctl(parent, _DELETE, bytearray(_DELETION.pack(0, name)))
    finally:
        os.close(parent)


def set_read_only(path: str, *, is_read_only: bool) -> None:
    """Have nobody change a subvolume, or let them again. Raises OSError, ETXTBSY while a `btrfs send` reads it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GET_FLAGS, bytes(_FLAGS.size)))
        wanted = flags | _READ_ONLY if is_read_only else flags & ~_READ_ONLY
        if wanted != flags:
            fcntl.ioctl(fd, _SET_FLAGS, _FLAGS.pack(wanted))
    finally:
        os.close(fd)


def _call(number: int, path: str, fd: int, flags: int) -> None:
    parent, name = _apart(path)
    try:
        fcntl.ioctl(parent, number, bytearray(_ARGUMENTS.pack(fd, 0, flags, name)))
    finally:
        os.close(parent)


def _apart(path: str) -> tuple[int, bytes]:
    """The open directory that `path` is in, and its name there."""
    parent, name = os.path.split(os.fsencode(path))
    return os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), name
