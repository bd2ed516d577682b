"""A full disk, in words. Pure but for the exception it catches."""

import contextlib
import errno
from collections.abc import Iterator

from cloison.base.errors import NoSpace


@contextlib.contextmanager
def full_disk_named(path: str, *, what: str = "files") -> Iterator[None]:
    """Raise NoSpace, which names `path`, for an OSError that says that a disk, a quota or an inode table is full."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(path, what=what) from problem
        raise


def no_space(path: str, *, what: str = "files") -> NoSpace:
    """The error for a full disk below `path`."""
    return NoSpace(
        f"no space is left for {what} in {path}",
        hint="remove what is not needed there, or put it on a larger disk",
        path=path,
    )
