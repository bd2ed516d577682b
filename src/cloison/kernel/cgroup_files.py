"""Which files a control group has on this kernel, and which groups are below it.

Some files are there only with an option of the kernel or with a module, and none of those that limit is in the top
directory: so a new group is made to look, without processes and for a moment.

Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst.
"""

import contextlib
import os
from collections.abc import Iterator


def below(path: str) -> tuple[str, ...]:
    """The groups below a group, each before those below it."""
    found: list[str] = []
    for directory, names, _files in os.walk(path):
        found += [f"{directory}/{name}" for name in sorted(names)]
    return tuple(found)


def first_of(path: str, names: tuple[str, ...]) -> str:
    """The first of `names` that the group at `path` has as a file; nothing where it has none."""
    return next((name for name in names if os.path.exists(f"{path}/{name}")), "")


@contextlib.contextmanager
def looked_into(top: str, *, enable: str = "") -> Iterator[str]:
    """A new, empty group below the hierarchy's top for as long as the block lasts; `enable` is a controller of v2 that
    has to be handed down for that. Raises OSError."""
    if enable:
        with open(f"{top}/cgroup.subtree_control", "w") as file:
            file.write(f"+{enable}")
    path = f"{top}/cloison-{os.getpid()}"
    os.mkdir(path)
    try:
        yield path
    finally:
        os.rmdir(path)
