"""Locks on files, seen by every process of the host.

Two kinds, both released by the kernel when their last holder is gone:

* `exclusive` is an flock(2): short, for "one writer at a time" (a command on an instance, a build of an image);
  `shared` is held by many, and keeps who wants it for himself away.
* `hold` and `is_held` are open file description locks, fcntl(2) F_OFD_SETLK, since Linux 3.15: held by a
  descriptor that is handed on to another program (the monitor keeps the journal locked as long as it lives),
  and asked for without ever taking them, so that a question never looks like an owner.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

_Held = TypeVar("_Held")
# struct flock of x86_64 and aarch64: l_type, l_whence, (pad) l_start, l_len, l_pid, (pad)
_FLOCK = struct.Struct("hh4xqqi4x")


def hold(fd: int) -> bool:
    """Lock the open file description behind `fd`; False where somebody else holds it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as problem:
        if problem.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def is_held(fd: int) -> bool:
    """Whether another open file description holds the lock; takes nothing."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


@contextlib.contextmanager
def exclusive(path: str, *, timeout_s: float | None = 0.0) -> Iterator[int]:
    """Hold `path` (made where it is missing) exclusively; yields its descriptor.

    `timeout_s` 0 tries once, None waits for ever. Raises BlockingIOError when somebody else holds it.
    A holder may remove the file before it lets go: who waited for it then tries again with the new one."""
    with _held(path, timeout_s, fcntl.LOCK_EX) as fd:
        yield fd


@contextlib.contextmanager
def shared(path: str, *, timeout_s: float | None = None) -> Iterator[None]:
    """Hold `path` (made where it is missing) together with others who want it so; as `exclusive` otherwise."""
    with _held(path, timeout_s, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def exclusive_in(directory: str, *, timeout_s: float | None = 0.0, mode: int = 0o755) -> Iterator[int]:
    """Hold `directory`/lock exclusively, as `exclusive` does; a holder may remove the directory as well."""
    with _held_in(directory, mode, lambda path: exclusive(path, timeout_s=timeout_s)) as fd:
        yield fd


@contextlib.contextmanager
def shared_in(directory: str, *, timeout_s: float | None = None, mode: int = 0o755) -> Iterator[None]:
    """Hold `directory`/lock together with others, as `shared` does; who holds it alone may remove the directory."""
    with _held_in(directory, mode, lambda path: shared(path, timeout_s=timeout_s)):
        yield


@contextlib.contextmanager
def _held(path: str, timeout_s: float | None, kind: int) -> Iterator[int]:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(fd, deadline, kind)
            if _is_current(fd, path):
                yield fd
                return
        finally:
            os.close(fd)


@contextlib.contextmanager
def _held_in(directory: str, mode: int, hold: Callable[[str], AbstractContextManager[_Held]]) -> Iterator[_Held]:
    with contextlib.ExitStack() as stack:
        while True:
            with contextlib.suppress(FileNotFoundError):  # removed in between, or what is above it: make it again
                os.makedirs(directory, mode=mode, exist_ok=True)
                held = stack.enter_context(hold(f"{directory}/lock"))
                break
        yield held


def _lock(fd: int, deadline: float | None, kind: int) -> None:
    if deadline is None:
        fcntl.flock(fd, kind)
        return
    pause = 0.001
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _is_current(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
