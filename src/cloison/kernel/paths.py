"""Files of an instance, opened without ever leaving its root.

A guest may have put any symbolic link anywhere. Only openat2(2) with RESOLVE_IN_ROOT follows them as the guest
would; every file that cloison reads in an instance goes through here (CVE-2019-14271 and its many relatives).
Source: openat2(2), since Linux 5.6.
"""

import contextlib
import ctypes
import errno
import functools
import os
import stat
import struct
from collections.abc import Iterator

_SYS_OPENAT2 = 437  # the same on every architecture since Linux 5.6
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02
_HOW = struct.Struct("=QQQ")
_TRIES = 1000  # of what others' renames may disturb
MAX_FILE = 1 << 20


@contextlib.contextmanager
def held(directory: str) -> Iterator[int]:
    """A directory by a descriptor (O_PATH), for what is opened below it. Raises OSError."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def open_in_root(root: int, path: str | bytes, flags: int) -> int:
    """Open `path` as seen from the directory descriptor `root`. Raises OSError."""
    return _opened(root, path, flags, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def open_beneath(root: int, path: str | bytes, flags: int) -> int:
    """Open `path` below the directory descriptor `root`, through directories alone: a symbolic link anywhere, an
    absolute path and one that leaves `root` are refused. Raises OSError: ELOOP, EXDEV."""
    return _opened(root, path, flags, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)


def _opened(root: int, path: str | bytes, flags: int, resolve: int) -> int:
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path)
    for _ in range(_TRIES):
        fd = int(_libc().syscall(_SYS_OPENAT2, root, name, how, len(how)))
        if fd >= 0:
            return fd
        error = ctypes.get_errno()
        # Some rename somewhere on the host, while a ".." was followed: the kernel cannot tell whether it led out.
        if error not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(error, os.strerror(error), path)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def name_beneath(root: int, fd: int) -> bytes:
    """Where the directory `fd` is below the directory `root`, without links; b"" for the same. Raises ValueError for
    one that is elsewhere, or gone."""
    top, path = (os.fsencode(os.readlink(f"/proc/self/fd/{one}")) for one in (root, fd))
    if path == top:
        return b""
    if not path.startswith(top.rstrip(b"/") + b"/"):
        raise ValueError(path)
    return path[len(top.rstrip(b"/")) + 1 :]


def name_through(directory: int, name: bytes) -> bytes:
    """A path of `name` in the directory descriptor, for calls that take no descriptor: those for extended attributes
    of links and devices."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def root_of(pid: int) -> int:
    """The root directory of a process, as an O_PATH descriptor owned by the caller."""
    return os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def read_in_root(root: int, path: str) -> bytes:
    """The first MiB of a regular file. Raises OSError, also for a fifo or a device: nothing is waited for."""
    fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(22, "not a regular file", path)
        return os.read(fd, MAX_FILE)
    finally:
        os.close(fd)
