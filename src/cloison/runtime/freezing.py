"""Freezing an instance: all of its processes or none, and never for longer than asked for.

A process in uninterruptible sleep freezes only when it wakes up, so there is a deadline; what is not frozen by then
is thawed again. Source: cgroup-v2.rst ("cgroup.freeze"), cgroup-v1/freezer-subsystem.rst.
"""

import contextlib
import time
from collections.abc import Callable

from cloison.base.errors import CloisonError, Kernel
from cloison.kernel import cgroups
from cloison.plan.execute import compile_freeze
from cloison.plan.inputs import CgroupPlace
from cloison.runtime import host, host_steps

PATIENCE_S = 5.0


def freeze(places: tuple[CgroupPlace, ...], name: str) -> None:
    """Freeze every process; raises Kernel, with all of them thawed, where some do not freeze in time."""
    host_steps.run(compile_freeze(f"freeze {name}", places, is_frozen=True))
    directories = host.directories(places)
    if not _becomes(lambda: cgroups.is_frozen(directories)):
        with contextlib.suppress(CloisonError):
            thaw(places, name)
        raise Kernel(
            f"cannot freeze {name}: not all of its processes stood still within {PATIENCE_S:.0f} s; they run on",
            hint="a process in uninterruptible sleep (state D) waits for a disk or a network file system",
        )


def thaw(places: tuple[CgroupPlace, ...], name: str) -> None:
    """Let every process go on."""
    host_steps.run(compile_freeze(f"unfreeze {name}", places, is_frozen=False))
    directories = host.directories(places)
    _becomes(lambda: not cgroups.is_frozen(directories))


def _becomes(is_so: Callable[[], bool]) -> bool:
    deadline, pause = time.monotonic() + PATIENCE_S, 0.0005
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True
