"""A read-only face of a file: the same inode, the same page cache, and no way to write to it.

A process of a privileged container is root of the host. Through /proc/PID/exe it could open the program that
brought it in, and overwrite it on the host (CVE-2019-5736). A program started from a detached, read-only copy of its
mount cannot be opened for writing there: EROFS. Unlike a copy in memory this one is shared by all who run it.
Source: open_tree(2), mount_setattr(2), since Linux 5.12.
"""

import ctypes
import os
import struct

_SYS_OPEN_TREE, _SYS_MOUNT_SETATTR = 428, 442  # the same on every architecture
_OPEN_TREE_CLONE = 1
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NODEV = 0x1, 0x4
_MOUNT_ATTR = struct.Struct("=QQQQ")


def read_only(path: str) -> int:
    """A descriptor of `path` on a detached read-only mount; the caller owns it. Raises OSError (CAP_SYS_ADMIN)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC))
    if fd < 0:
        raise _error(path)
    attributes = _MOUNT_ATTR.pack(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NODEV, 0, 0, 0)
    if libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, attributes, len(attributes)) < 0:
        problem = _error(path)
        os.close(fd)
        raise problem
    return fd


def _error(path: str) -> OSError:
    error = ctypes.get_errno()
    return OSError(error, os.strerror(error), path)
