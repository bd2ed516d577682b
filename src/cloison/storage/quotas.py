"""Limits of trees that are directories, by project quotas: of the drivers overlay and dir, on ext4 and xfs.

The trees of one instance that lie on each other are one project's, so that what it has is counted as one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cloison.base.errors import Invalid, Unsupported
from cloison.base.units import exact_size, format_size
from cloison.kernel import project_quotas
from cloison.storage.driver import NO_LIMIT, Size, Used

_FIRST = 1 << 24  # administrators number projects from 1 on, in /etc/projid
_COUNT = 1 << 30


def why_not(pool: str, driver: str, path: str) -> str:
    """Why trees below `path` cannot be limited; empty where they can."""
    with _opened(path) as fd:
        if project_quotas.are_on(fd):
            return ""
    return (
        f"the pool {pool} ({driver} in {path}) cannot limit the disk: its file system has no project quotas;"
        " mount ext4 or xfs with prjquota, or use a pool of the driver loop or btrfs"
    )


def limit(pool: str, driver: str, place: str, size: Size) -> None:
    """Set the limits of a tree. Raises Unsupported, and Invalid for less than it has."""
    with _opened(place) as fd:
        number = project_quotas.project(fd)
        if size == NO_LIMIT and not number:
            return
        reason = why_not(pool, driver, place)
        if reason:
            raise Unsupported(reason.replace(f" in {place}", ""), hint="cloison storage create NAME --driver loop")
        if not number:
            number = _new_project(fd)
            project_quotas.join(fd, number)
        used = project_quotas.read(fd, number)
        if size.bytes is not None and size.bytes < used.bytes:
            raise Invalid(
                f"limits.disk={exact_size(size.bytes)} is less than the {format_size(used.bytes)} that are used",
                used=used.bytes,
            )
        if size.inodes is not None and size.inodes < used.inodes:
            raise Invalid(f"limits.inodes={size.inodes} is less than the {used.inodes} that are used")
        project_quotas.limit(fd, number, max_bytes=size.bytes or 0, max_inodes=size.inodes or 0)


def share(place: str, other: str) -> None:
    """Count a new tree, with nothing in it yet, together with another."""
    with _opened(other) as fd:
        number = project_quotas.project(fd)
    if number:
        with _opened(place) as fd:
            project_quotas.join(fd, number)


def used(place: str) -> Used | None:
    """What a tree has by its project; None for one that is not limited."""
    with _opened(place) as fd:
        number = project_quotas.project(fd)
        if not number:
            return None
        found = project_quotas.read(fd, number)
    return Used(found.bytes, found.inodes, Size(found.max_bytes or None, found.max_inodes or None))


def _new_project(fd: int) -> int:
    """A number that nobody uses on this file system."""
    while True:
        number = _FIRST + int.from_bytes(os.urandom(4), "big") % _COUNT
        if project_quotas.read(fd, number) == project_quotas.Quota(0, 0, 0, 0):
            return number


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
