"""The one scope of an installation on a host with systemd, in which all its control groups are.

    cloison.slice                     what all of cloison uses: `systemctl set-property cloison.slice MemoryMax=...`
    `- cloison.scope                  of /run/cloison; cloison-1a2b3c4d.scope of another run directory
       |- keepers                     monitors: on v2 no process may sit beside groups with controllers
       `- cloison/<id>/{guest,exec}   the instances, as elsewhere

Nobody keeps the scope but the monitors in it. It is made for the first start, and ends with the last monitor, without
anybody's doing. So a start may come just when it ends: `within` sees to it that what was started is in a scope that
systemd knows.

Lock: `<run>/locks/scope` (flock), held while the scope is looked after; taken after an instance's own, and nothing
is taken after it.
"""

import binascii
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from cloison.base.errors import CloisonError, Kernel
from cloison.kernel import cgroup_world, cgroups, locks, systemd

SLICE: Final = "cloison.slice"
KEEPERS: Final = "keepers"
PATIENCE_S: Final = 30.0
PAUSE_S: Final = 0.05
_USUAL_RUN: Final = "/run/cloison"

Outcome = TypeVar("Outcome")


def unit(run: str) -> str:
    """The name of the scope of the installation with the run directory `run`."""
    return "cloison.scope" if run == _USUAL_RUN else f"cloison-{binascii.crc32(os.fsencode(run)):08x}.scope"


def path(run: str) -> str:
    """Its directory below the mount points of the hierarchies; empty where systemd does not run the host."""
    top = systemd.top()
    return "" if top is None else f"{top}/{SLICE}/{unit(run)}"


def within(run: str, start: Callable[[], Outcome]) -> Outcome:
    """Call `start`, which puts a process among the keepers, with the scope there before and after; elsewhere just call
    it. Raises what `start` raises, and Kernel where systemd does not make the scope.

    The usual case asks nobody. If one that was among the keepers before is there afterwards, then the scope was never
    empty, and systemd has had no reason to end it. Else `start` may have met a scope that was about to go."""
    directory = keepers(run)
    if not directory:
        return start()
    before = _pids(directory)
    if before:
        try:
            outcome = start()
        except CloisonError:
            if before & _pids(directory):
                raise
        else:
            if not before & _pids(directory):
                with held(run):
                    pass
            return outcome
    with held(run):
        return start()


@contextlib.contextmanager
def held(run: str) -> Iterator[None]:
    """The scope is there, and stays as long as the block lasts. Raises Kernel where systemd does not make it."""
    directory = keepers(run)
    if not directory:
        yield
        return
    os.makedirs(f"{run}/locks", mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with locks.exclusive(f"{run}/locks/scope", timeout_s=PATIENCE_S):
            _hold(stack, run, directory)
        yield


def _hold(stack: contextlib.ExitStack, run: str, directory: str) -> None:
    """Who has joined first and then asks hears the truth: a scope that is active then cannot end any more."""
    scope = systemd.Scope(unit(run), SLICE, f"containers of cloison ({run})")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.ExitStack() as attempt:
            if attempt.enter_context(systemd.joined(directory)) and systemd.state(scope.unit) == "active":
                stack.push(attempt.pop_all())
                return
        with contextlib.ExitStack() as attempt:
            refused = attempt.enter_context(systemd.made(scope, directory))
            if refused is None:
                stack.push(attempt.pop_all())
                return
        if time.monotonic() > deadline:
            raise Kernel(
                f"systemd does not make {scope.unit}, in which the control groups are to be: {refused}",
                hint=f"`systemctl status {scope.unit}` says more; no instance starts while the host shuts down",
            )
        time.sleep(PAUSE_S)  # an earlier one of that name is on its way out


def keepers(run: str) -> str:
    """The directory of the monitors, in the hierarchy by which systemd tells whether a scope is empty: v2 where there
    is one, else name=systemd. Empty where systemd does not run the host."""
    below = path(run)
    if not below:
        return ""
    world = cgroup_world.detect()
    hierarchy = world.unified() or world.of("name=systemd")
    return f"{hierarchy.mountpoint}{below}/{KEEPERS}" if hierarchy else ""


def _pids(directory: str) -> frozenset[str]:
    return frozenset((cgroups.read(f"{directory}/cgroup.procs") or "").split())
