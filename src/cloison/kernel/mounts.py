"""File systems that are mounted for nobody else: detached, seen through a descriptor alone, gone when it is closed.

Source: fsopen(2), fsconfig(2), fsmount(2) and open_tree(2), since Linux 5.2; mount_setattr(2), since 5.12.
"""

import ctypes
import os
import struct
import threading
from collections.abc import Callable

from cloison.kernel.abi import MOUNT_ATTR_RDONLY, MS_PRIVATE, OPEN_TREE_CLONE

# The same on every architecture since Linux 5.2.
_OPEN_TREE, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 430, 431, 432, 442
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_CLOEXEC = 1  # of fsopen and fsmount; open_tree takes O_CLOEXEC
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_ATTRIBUTES = struct.Struct("=QQQQ")  # struct mount_attr: set, clear, propagation, userns
_CLONE_FS = 0x200


def overlay(lower: tuple[int, ...], upper: int | None = None, work: int | None = None) -> int:
    """An overlay of directories that are open, the uppermost first, as cloison mounts them (`userxattr`).

    Without an upper directory it is read-only, and needs two lower ones. Gives a descriptor, owned by the caller.
    Raises OSError."""
    options = [f"lowerdir={':'.join(str(fd) for fd in lower)}"]
    if upper is not None:
        options += [f"upperdir={upper}", f"workdir={work}"]
    return _in_own_directory(lambda: _new("overlay", (*options, "userxattr"), 0 if upper else MOUNT_ATTR_RDONLY))


def device(fstype: str, source: str, options: tuple[str, ...] = (), *, is_read_only: bool = False) -> int:
    """A file system of a block device. Gives a descriptor, owned by the caller. Raises OSError."""
    words = (f"source={source}", *options, *(("ro",) if is_read_only else ()))
    return _new(fstype, words, MOUNT_ATTR_RDONLY if is_read_only else 0)


def tree(path: str, *, is_read_only: bool = False) -> int:
    """A copy of the mount of `path` that begins there. Gives a descriptor, owned by the caller. Raises OSError."""
    fd = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        wanted = _ATTRIBUTES.pack(MOUNT_ATTR_RDONLY if is_read_only else 0, 0, MS_PRIVATE, 0)
        _call(_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, wanted, len(wanted))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _new(fstype: str, options: tuple[str, ...], attributes: int) -> int:
    context = _call(_FSOPEN, fstype.encode(), _CLOEXEC)
    try:
        for option in options:
            key, equals, value = option.partition("=")
            kind, given = (_SET_STRING, value.encode()) if equals else (_SET_FLAG, None)
            _call(_FSCONFIG, context, kind, key.encode(), given, 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, attributes)
    finally:
        os.close(context)


def _in_own_directory(mount: Callable[[], int]) -> int:
    """Call `mount` in a thread whose working directory is that of this process's descriptors.

    An option of fsconfig(2) has at most 255 bytes: long paths do not fit, numbers do. The caller's own working
    directory stays what it is: unshare(2), CLONE_FS, which concerns one thread."""
    outcome: list[int | BaseException] = []

    def run() -> None:
        try:
            _checked(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_FS))
            os.chdir("/proc/self/fd")
            outcome.append(mount())
        except BaseException as problem:
            outcome.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *words))


def _checked(answer: int) -> int:
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer
