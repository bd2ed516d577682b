"""A signal for every process of an instance, and not for its init alone.

SIGKILL is a plan: the kernel ends the whole tree at once (cgroup.kill of v2), or it is frozen, killed and thawed
(freezer of v1), so that nothing escapes by forking. Other signals are sent one by one. Source: cgroup-v2.rst.
"""

import contextlib
import os
import signal
from collections.abc import Sequence

from cloison.base.errors import Unsupported
from cloison.kernel import cgroups, procfs
from cloison.plan.cgroups import kills
from cloison.plan.execute import compile_kill
from cloison.plan.inputs import CgroupPlace
from cloison.runtime import host_steps

SIGKILL = 9
LOOKS = 3  # the second and third are for what was forked by those who had not been told yet
AT_ONCE = 256  # descriptors, of the 1024 that a process may have by default


def kill_all(places: tuple[CgroupPlace, ...], name: str, number: int) -> None:
    """Send signal `number` to every process of an instance, and to the commands that run inside. Raises Kernel, and
    Unsupported where no control group says which processes those are."""
    steps = kills(places)
    if not steps:
        raise Unsupported(
            "this host has no control group that knows the processes of an instance",
            hint="without --all the init gets the signal",
        )
    if number == SIGKILL:
        host_steps.run(compile_kill(f"kill {name}", places))
        return
    told: set[int] = set()
    path = steps[0].path
    for _look in range(LOOKS):
        fresh = [pid for pid in cgroups.members(path) if pid and pid not in told]
        for first in range(0, len(fresh), AT_ONCE):
            _tell(path, fresh[first : first + AT_ONCE], number)
        told |= set(fresh)


def _tell(path: str, pids: Sequence[int], number: int) -> None:
    """A number may have become another process's: one counts that has it and is still a member afterwards."""
    with contextlib.ExitStack() as stack:
        opened = {}
        for pid in pids:
            if (descriptor := procfs.pidfd(pid)) >= 0:
                opened[pid] = descriptor
                stack.callback(os.close, descriptor)
        for pid in opened.keys() & set(cgroups.members(path)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(opened[pid], number)
