"""Files of the host that a command line names: to be written whole or not at all, and those that cannot be used.

What is written has no name until it is whole (O_TMPFILE, open(2)), so whoever is killed leaves nothing. Where the file
system cannot do that, and for the moment in which a file takes another's place, it is beside it:

    .NAME.HOST-PID.part     of a process that is gone: removed by the next one that writes NAME
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator

from cloison.base.disk import full_disk_named
from cloison.base.errors import Invalid

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FLAGS = os.O_WRONLY | os.O_CLOEXEC
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)  # EISDIR: a kernel or a file system from before Linux 3.11


@contextlib.contextmanager
def unwritable_named(path: str) -> Iterator[None]:
    """Raise Invalid, which names `path`, for an OSError about a name; a full disk is left to `full_disk_named`."""
    try:
        yield
    except OSError as problem:
        if problem.filename is None or problem.errno in _FULL:
            raise
        raise Invalid(f"{path} cannot be written: {problem.strerror}", path=path) from problem


def write_whole(path: str, chunks: Iterable[bytes], mode: int) -> int:
    """Make `path` a file of these bytes, in the place of one that is there; their number. `mode` is lessened by the
    umask. A device or a pipe is written to as it is. Raises Invalid, NoSpace; then what was there is there."""
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    beside = f"{directory}/{_beside(name)}{os.getpid()}.part"
    with full_disk_named(path), contextlib.ExitStack() as stack:
        with unwritable_named(path):
            is_file = not os.path.exists(target) or os.path.isfile(target)
            fd, is_unnamed = _opened(directory, beside, mode) if is_file else (os.open(target, _FLAGS), False)
        stack.callback(os.close, fd)
        if not is_file:
            return write(fd, chunks)
        try:
            written = write(fd, chunks)
            os.fsync(fd)
            with unwritable_named(path):
                _name(fd, target, beside, is_unnamed=is_unnamed)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
    _sweep(directory, name)
    return written


def write(fd: int, chunks: Iterable[bytes]) -> int:
    """Write all of it; its length."""
    written = 0
    for chunk in chunks:
        view = memoryview(chunk)
        written += len(view)
        while view:
            view = view[os.write(fd, view) :]
    return written


def _opened(directory: str, beside: str, mode: int) -> tuple[int, bool]:
    """A descriptor to write to, and whether the file has no name yet; else that is `beside`."""
    try:
        return os.open(directory, _FLAGS | os.O_TMPFILE, mode), True
    except OSError as problem:
        if problem.errno not in _NO_TMPFILE:
            raise
    return os.open(beside, _FLAGS | os.O_CREAT | os.O_EXCL, mode), False


def _name(fd: int, target: str, beside: str, *, is_unnamed: bool) -> None:
    """Have the file be `target`. `src_dir_fd` is what has Python call linkat(2), which follows the link of /proc."""
    if is_unnamed:
        try:
            os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd)
            return
        except FileExistsError:
            os.link(f"/proc/self/fd/{fd}", beside, src_dir_fd=fd)
    os.rename(beside, target)


def _beside(name: str) -> str:
    return f".{name}.{os.uname().nodename}-"


def _sweep(directory: str, name: str) -> None:
    """Remove what processes of this host have left there that were killed."""
    with contextlib.suppress(OSError):
        for each in os.listdir(directory):
            pid = each.removeprefix(_beside(name)).removesuffix(".part")
            if each == f"{_beside(name)}{pid}.part" and pid.isdecimal() and not _is_alive(int(pid)):
                os.unlink(f"{directory}/{each}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
