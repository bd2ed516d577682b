"""Project quotas of ext4 and xfs: the most that everything below a directory may hold.

A directory bears the number of a project, and what is made in it inherits that. Nobody in a user namespace can change
it. Source: ioctl_xfs_fsgetxattr(2), quotactl_fd(2), since Linux 5.14; include/uapi/linux/quota.h.
"""

import ctypes
import errno
import fcntl
import os
import struct
import sys

import msgspec

_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_ATTRIBUTES = struct.Struct("=IIIII8x")  # struct fsxattr: xflags, extsize, nextents, projid, cowextsize
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
_QUOTACTL_FD = 443
_GET, _SET, _PROJECT = 0x800007, 0x800008, 2
_GET_STATE, _STATE_BYTES, _ENFORCED = 0x5805, 128, 1 << 5  # Q_XGETQSTAT, struct fs_quota_stat, FS_QUOTA_PDQ_ENFD
_BLOCK_BYTES = 1024  # QIF_DQBLKSIZE
_QUOTA = struct.Struct("=QQQQQQQQI4x")  # struct if_dqblk
_LIMITS = 5  # QIF_BLIMITS | QIF_ILIMITS
_NONE_HERE = (errno.ESRCH, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENODEV, errno.ENOENT)


class Quota(msgspec.Struct, frozen=True):
    """What a project uses and may use, in bytes and inodes; a limit of 0 is none."""

    bytes: int
    inodes: int
    max_bytes: int
    max_inodes: int


def are_on(fd: int) -> bool:
    """Whether the file system of an open directory limits projects, and does not only count them, as an ext4 does that
    has the feature and was mounted without `prjquota`."""
    buffer = bytearray(_STATE_BYTES)
    try:
        _quotactl(fd, _GET_STATE, 0, buffer)
    except OSError as problem:
        if problem.errno in _NONE_HERE:
            return False
        raise
    return bool(int.from_bytes(buffer[2:4], sys.byteorder) & _ENFORCED)


def project(fd: int) -> int:
    """The project of an open file or directory; 0 for none, also where there are no projects."""
    try:
        return _attributes(fd)[3]
    except OSError as problem:
        if problem.errno in _NONE_HERE:
            return 0
        raise


def join(fd: int, number: int) -> None:
    """Make an open directory, and what will be made in it, a project's."""
    flags, extent_size, extents, _project, cow_size = _attributes(fd)
    fcntl.ioctl(fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERIT, extent_size, extents, number, cow_size))


def read(fd: int, number: int) -> Quota:
    """What a project uses, on the file system of an open directory; nothing for one that is not known yet."""
    try:
        return _read(fd, number)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ESRCH):  # xfs
            return Quota(0, 0, 0, 0)
        raise


def limit(fd: int, number: int, *, max_bytes: int, max_inodes: int) -> None:
    """Set the limits of a project; bytes are rounded up to whole KiB."""
    blocks = -(-max_bytes // _BLOCK_BYTES)
    _quotactl(fd, _SET, number, bytearray(_QUOTA.pack(blocks, 0, 0, max_inodes, 0, 0, 0, 0, _LIMITS)))


def _attributes(fd: int) -> tuple[int, ...]:
    return _ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))


def _read(fd: int, number: int) -> Quota:
    buffer = bytearray(_QUOTA.size)
    _quotactl(fd, _GET, number, buffer)
    blocks, _soft, used, inodes, _isoft, used_inodes, _btime, _itime, _valid = _QUOTA.unpack(buffer)
    return Quota(used, used_inodes, blocks * _BLOCK_BYTES, inodes)


def _quotactl(fd: int, command: int, number: int, buffer: bytearray) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(each) for each in (_QUOTACTL_FD, fd, command << 8 | _PROJECT, number)]
    at = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if libc.syscall(*words, ctypes.byref(at)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
