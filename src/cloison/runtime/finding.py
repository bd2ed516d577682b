"""How the kernel's answers become words, and lines of `cloison check`. Pure."""

import errno
import os

from cloison.spec.finding import REQUIRED, Finding

__all__ = ["REQUIRED", "Finding", "said", "tried"]


def said(error: int | None) -> str:
    """How the kernel answered an attempt, in words."""
    if error is None:
        return "could not be tried, since something above is missing"
    if error in (errno.ENOSYS, errno.ENODEV, errno.EOPNOTSUPP):
        return "not in this kernel"
    return f"{os.strerror(error)} ({errno.errorcode.get(error, error)})" if error else "works"


def tried(topic: str, name: str, error: int | None, needed: str, hint: str) -> Finding:
    """The finding about an attempt that ended with `error`."""
    if error == 0:
        return Finding(topic, name, "ok", needed, "works")
    return Finding(topic, name, "missing", needed, said(error), hint)
