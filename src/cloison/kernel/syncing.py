"""Bringing what was written to the disk: syncfs(2), which Python has not."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def file_system(path: str) -> None:
    """Write all that is in memory of the file system of `path`, and wait for it. Raises OSError, such as EIO for what
    could not be written since the file system was mounted."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
