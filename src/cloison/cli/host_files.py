"""Files of the host that a command line names, and that cannot be used."""

import contextlib
import errno
from collections.abc import Iterator

from cloison.base.errors import Invalid

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def unwritable_named(path: str) -> Iterator[None]:
    """Raise Invalid, which names `path`, for an OSError about a name; a full disk is left to `full_disk_named`."""
    try:
        yield
    except OSError as problem:
        if problem.filename is None or problem.errno in _FULL:
            raise
        raise Invalid(f"{path} cannot be written: {problem.strerror}", path=path) from problem
