"""Loop devices: files as block devices.

A device that is attached here lets go of its file by itself when nobody has it open or mounted any more.
Source: loop(4), LOOP_CONFIGURE, since Linux 5.8.
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator

_GET_FREE, _SET_CAPACITY, _CONFIGURE = 0x4C82, 0x4C07, 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
_CONFIG = struct.Struct("=II5QIIII64s64s32s2Q8Q")  # struct loop_config with its struct loop_info64
_TRIES = 20


@contextlib.contextmanager
def attached(image: str, *, is_read_only: bool = False) -> Iterator[str]:
    """The path of a block device with the contents of the file `image`; it stays as long as it is mounted.

    The caller has seen to it that there is no other of the same file: see `devices`. Raises OSError."""
    mode = os.O_RDONLY if is_read_only else os.O_RDWR
    fd = os.open(image, mode | os.O_CLOEXEC)
    try:
        device, path = _configured(fd, image, is_read_only=is_read_only)
    finally:
        os.close(fd)
    try:
        yield path
    finally:
        os.close(device)


def _configured(fd: int, image: str, *, is_read_only: bool) -> tuple[int, str]:
    flags = _AUTOCLEAR | (_READ_ONLY if is_read_only else 0)
    name = os.fsencode(image)[:63]
    config = _CONFIG.pack(fd, 0, *[0] * 5, 0, 0, 0, flags, name, b"", b"", *[0] * 10)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            device = os.open(path, (os.O_RDONLY if is_read_only else os.O_RDWR) | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as problem:
                os.close(device)
                if problem.errno == errno.EBUSY:
                    continue  # somebody was faster
                raise
            return device, path
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device stays free", image)


def devices(image: str) -> tuple[str, ...]:
    """The loop devices of a file; of one that was deleted, too, as long as its directory has another of that name."""
    found = []
    for name in os.listdir("/sys/block"):
        if name.startswith("loop"):
            with contextlib.suppress(OSError), open(f"/sys/block/{name}/loop/backing_file", "rb") as file:
                if file.read().rstrip(b"\n") == os.fsencode(os.path.realpath(image)):
                    found.append(f"/dev/{name}")
    return tuple(sorted(found))


def grow(device: str) -> None:
    """Have a loop device see that its file has become longer."""
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _SET_CAPACITY)
    finally:
        os.close(fd)
