"""The steps on processes and what they may do, a part of the table in `cloison.plan.steps`."""

from cloison.plan.fields import Blob, Hex, Int, Out, Slot, Step, Text, Texts

# --- processes and namespaces ----------------------------------------------------------------------------


class Detach(Step, frozen=True):
    """Leave the caller: fork, let the parent end, begin an own session in `/`."""

    kind, number, source = "detach", 20, "fork(2), setsid(2)"


class Clone(Step, frozen=True):
    """Make the new process, in new namespaces and, with `cgroup`, in that v2 cgroup from its first moment."""

    kind, number, source = "clone", 21, "clone3(2)"
    flags: Hex
    cgroup: Slot


class OpenChildNs(Step, frozen=True):
    """Take hold of a namespace of the new process."""

    kind, number, source = "open_child_ns", 22, "namespaces(7)"
    out: Out
    name: Text


class WriteChild(Step, frozen=True):
    """Write to /proc/PID/`name` of the new process: its id maps, its OOM score."""

    kind, number, source = "write_child", 23, "user_namespaces(7)"
    name: Text
    data: Text


class Unshare(Step, frozen=True):
    """Leave shared namespaces for new ones."""

    kind, number, source = "unshare", 24, "unshare(2)"
    flags: Hex


class Setns(Step, frozen=True):
    """Enter namespaces: `fd` is a namespace or a pidfd."""

    kind, number, source = "setns", 25, "setns(2)"
    fd: Slot
    flags: Hex


class Setsid(Step, frozen=True):
    """Begin a new session."""

    kind, number, source = "setsid", 26, "setsid(2)"


class Pdeathsig(Step, frozen=True):
    """Ask for a signal when the parent dies; end at once where it is dead already."""

    kind, number, source = "pdeathsig", 27, "prctl(2), PR_SET_PDEATHSIG"
    signal: Int


class SetDumpable(Step, frozen=True):
    """Say whether others may look into this process (ptrace, /proc/PID/)."""

    kind, number, source = "set_dumpable", 28, "prctl(2), PR_SET_DUMPABLE"
    value: Int


class Personality(Step, frozen=True):
    """Set the execution domain."""

    kind, number, source = "personality", 29, "personality(2)"
    value: Hex


# --- limits ----------------------------------------------------------------------------------------------


class Setrlimit(Step, frozen=True):
    """Set a resource limit; all bits set is "unlimited"."""

    kind, number, source = "setrlimit", 53, "setrlimit(2)"
    resource: Int
    soft: Hex
    hard: Hex


class Prlimit(Step, frozen=True):
    """Set a resource limit of another process, or where `pid` is 0, of the new one; one that has ended is passed over.

    The host's root may raise a hard limit, which root of a user namespace may not."""

    kind, number, source = "prlimit", 57, "prlimit(2)"
    pid: Int
    resource: Int
    soft: Hex
    hard: Hex


# --- credentials -----------------------------------------------------------------------------------------


class Setgroups(Step, frozen=True):
    """Set the supplementary groups (decimal numbers)."""

    kind, number, source = "setgroups", 60, "setgroups(2)"
    groups: Texts


class Setresgid(Step, frozen=True):
    """Set all group ids."""

    kind, number, source = "setresgid", 61, "setresgid(2)"
    gid: Int


class Setresuid(Step, frozen=True):
    """Set all user ids."""

    kind, number, source = "setresuid", 62, "setresuid(2)"
    uid: Int


class DropBounding(Step, frozen=True):
    """Drop every capability that is not in `keep` from the bounding set."""

    kind, number, source = "drop_bounding", 63, "capabilities(7), PR_CAPBSET_DROP"
    keep: Hex


class KeepCaps(Step, frozen=True):
    """Keep the permitted capabilities when the user id changes."""

    kind, number, source = "keep_caps", 64, "capabilities(7), PR_SET_KEEPCAPS"


class Capset(Step, frozen=True):
    """Set the capability sets of the process."""

    kind, number, source = "capset", 65, "capset(2)"
    effective: Hex
    permitted: Hex
    inheritable: Hex


class Ambient(Step, frozen=True):
    """Raise ambient capabilities."""

    kind, number, source = "ambient", 66, "capabilities(7), PR_CAP_AMBIENT"
    mask: Hex


class NoNewPrivs(Step, frozen=True):
    """From here on exec cannot grant privileges."""

    kind, number, source = "no_new_privs", 67, "prctl(2), PR_SET_NO_NEW_PRIVS"


class LoadSeccomp(Step, frozen=True):
    """Load a system call filter: an array of `struct sock_filter`."""

    kind, number, source = "load_seccomp", 68, "seccomp(2)"
    filter: Blob
