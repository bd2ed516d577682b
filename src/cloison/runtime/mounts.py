"""Mounts that come to a running instance, and that leave it.

Nothing is written down for it: a mount ends with the mount namespace that it is in. Which one is ours is seen from what
is there: the same file as its source, or a tmpfs; a guest may have taken it away, or covered it.
"""

import contextlib
import os
from collections.abc import Callable, Iterable

from cloison.base.errors import Busy, CloisonError, Conflict
from cloison.kernel import mountinfo, procfs
from cloison.kernel.mountinfo import Mounted
from cloison.kernel.paths import open_in_root, root_of
from cloison.plan.mounts import compile_attach, compile_detach, is_bind
from cloison.runtime import host_steps
from cloison.runtime.live_limits import Kept
from cloison.spec.oci import IdMapping, Mount

MOST_NAMED = 5
_EBUSY = "EBUSY"


def attach(kept: Kept, name: str, mount: Mount, mappings: tuple[IdMapping, ...]) -> None:
    """Give the running instance `name` one more mount; nothing is left of it where that fails, but for directories that
    were made for it. Raises Conflict where something else is mounted there, and the errors of `failures`."""
    there = _top(kept.pid, mount.destination)
    if there is not None:
        if not _is_ours(kept.pid, there, mount):
            raise Conflict(
                f"cannot mount {mount.destination} in {name}: a {there.fstype} is mounted there, inside",
                hint="choose another target, or unmount that first",
            )
        _run_detach(kept, name, there.point, mappings, is_forced=True)  # of a command that was killed
    host_steps.run(compile_attach(f"mount {mount.destination} in {name}", mount, mappings), (kept.pidfd,))


def detach(
    kept: Kept,
    name: str,
    mount: Mount,
    mappings: tuple[IdMapping, ...],
    *,
    members: Callable[[], Iterable[int]],
    is_forced: bool = False,
) -> None:
    """Take a mount from the running instance `name`; one that a guest has taken away itself is no error. `members` are
    its processes. Raises Busy, naming who uses it."""
    there = _top(kept.pid, mount.destination)
    if there is None:
        return
    if not _is_ours(kept.pid, there, mount):
        raise Conflict(
            f"cannot unmount {mount.destination} in {name}: something else has been mounted over it, inside",
            hint="unmount that first",
        )
    try:
        _run_detach(kept, name, there.point, mappings, is_forced=is_forced)
    except CloisonError as problem:
        if problem.facts.get("errno") != _EBUSY:
            raise
        who = [f"{procfs.comm(pid)} (process {pid})" for pid in mountinfo.users(members(), there.number)]
        raise Busy(
            f"cannot unmount {mount.destination} in {name}: it is used by"
            f" {', '.join(who[:MOST_NAMED]) or 'a mount in it, or another namespace'}",
            hint="end that first; with --force it is gone for everybody who does not use it yet",
        ) from problem


def _run_detach(kept: Kept, name: str, path: str, mappings: tuple[IdMapping, ...], *, is_forced: bool) -> None:
    plan = compile_detach(f"unmount {path} in {name}", path, mappings, is_forced=is_forced)
    host_steps.run(plan, (kept.pidfd,))


def _top(pid: int, target: str) -> Mounted | None:
    """What is mounted at a path inside; None where nothing is."""
    root = root_of(pid)
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            fd = open_in_root(root, target, os.O_PATH)
            try:
                return mountinfo.at(pid, fd)
            finally:
                os.close(fd)
    finally:
        os.close(root)
    return None


def _is_ours(pid: int, there: Mounted, mount: Mount) -> bool:
    if not is_bind(mount):
        return there.fstype == mount.type
    root = root_of(pid)
    try:
        fd = open_in_root(root, there.point, os.O_PATH)
        try:
            return os.path.samestat(os.fstat(fd), os.stat(mount.source))
        except FileNotFoundError:
            return os.fstat(fd).st_nlink == 0  # it has been deleted on the host
        finally:
            os.close(fd)
    finally:
        os.close(root)
