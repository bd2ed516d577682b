"""Limits of other processes: what they are now, and how far this one may raise them.

Source: prlimit(2), proc_pid_oom_score_adj(5), capabilities(7).
"""

import resource

from cloison.kernel.probe import privileges, read_text

CAP_SYS_RESOURCE = 24
_ALL_BITS = (1 << 64) - 1

Bounds = tuple[int, int]  # soft, hard; all bits set is "unlimited"


def bounds(pid: int, number: int) -> Bounds | None:
    """A resource limit of a process; None where it has ended. Raises PermissionError."""
    try:
        soft, hard = resource.prlimit(pid, number)
    except ProcessLookupError:
        return None
    return soft & _ALL_BITS, hard & _ALL_BITS


def oom_score_adj(pid: int) -> int | None:
    """What is added to a process's badness; None where it has ended."""
    try:
        return int(read_text(f"/proc/{pid}/oom_score_adj"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def may_raise() -> bool:
    """Whether this process may raise hard limits."""
    return bool(privileges().effective >> CAP_SYS_RESOURCE & 1)
