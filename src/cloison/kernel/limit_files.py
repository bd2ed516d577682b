"""What the groups of this host can be limited by: the files that they have, and what weighs the traffic of disks.

The groups that there are already are looked into; where a hierarchy has none, one is made for a moment, if this user
may. On v2 a group has only the files of controllers that are handed down to it, so of a controller that nobody uses yet
nothing can be said.

Source: cgroups(7); cgroup-v2.rst; Documentation/block/bfq-iosched.rst; Documentation/admin-guide/cgroup-v2.rst,
"io.cost.qos".
"""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from cloison.kernel.cgroup_files import looked_into
from cloison.kernel.cgroup_world import CgroupWorld, Hierarchy

_ENOUGH: Final = 64  # directories that are looked into at most, in each hierarchy
_ENABLED: Final = re.compile(r"^(\d+:\d+) .*\benable=1", re.MULTILINE)


class LimitFiles(msgspec.Struct, frozen=True):
    """`names` of files that groups have; `unseen` are controllers whose files nobody has yet. `weighed` are the disks
    on which weights count, each with what sees to it ("bfq", "iocost"); `disks` are all that are devices."""

    names: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    disks: tuple[str, ...] = ()
    weighed: tuple[tuple[str, str], ...] = ()


def look(world: CgroupWorld) -> LimitFiles:
    """What there is now; a hundred small reads at most."""
    names: set[str] = set()
    unseen: set[str] = set()
    for hierarchy in world.hierarchies:
        found = _names(hierarchy)
        names |= found
        unseen |= _unseen(hierarchy, found)
    blocks = sorted(_entries("/sys/block"))
    disks = tuple(name for name in blocks if os.path.exists(f"/sys/block/{name}/device"))
    return LimitFiles(frozenset(names), frozenset(unseen), disks, tuple(_weighed(world, blocks)))


def _unseen(hierarchy: Hierarchy, names: set[str]) -> set[str]:
    families = {name.split(".", 1)[0] for name in names}
    is_complete = hierarchy.version == 1 and any(name in names for name in ("cgroup.procs", "tasks"))
    return set() if is_complete else {name for name in hierarchy.controllers if name not in families}


def _names(hierarchy: Hierarchy) -> set[str]:
    found = set(_entries(hierarchy.mountpoint)) if hierarchy.version == 1 else set()
    below = list(itertools.islice(_groups(hierarchy.mountpoint), _ENOUGH))
    for directory in below:
        found.update(_entries(directory))
    if not below:
        with contextlib.suppress(OSError), looked_into(hierarchy.mountpoint) as directory:
            found.update(_entries(directory))
    return found


def _groups(top: str) -> Iterator[str]:
    """The groups below the top, and those below them: a slice of systemd has less than what is in it."""
    level = [top]
    for _ in range(2):
        level = [path for above in level for name in _entries(above) if os.path.isdir(path := f"{above}/{name}")]
        yield from level


def _weighed(world: CgroupWorld, disks: list[str]) -> Iterator[tuple[str, str]]:
    unified = world.unified()
    costs = _text(f"{unified.mountpoint}/io.cost.qos") if unified else ""
    modelled = set(_ENABLED.findall(costs))
    for disk in disks:
        if "[bfq]" in _text(f"/sys/block/{disk}/queue/scheduler"):
            yield disk, "bfq"
        elif _text(f"/sys/block/{disk}/dev").strip() in modelled:
            yield disk, "iocost"


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.fsdecode(file.readall())
    except OSError:
        return ""
