"""A failed step, in words: which step, for what, what the kernel said, and what to do about it.

The launcher answers with numbers. Most errno values say enough with the step's own arguments; the table below
re-words those that mislead.
"""

import errno
import os
import re

from cloison.base.errors import CloisonError, Invalid, Kernel, NoSpace, NotFound, Unsupported
from cloison.kernel.abi import RLIMITS
from cloison.plan.mount_steps import Fsmount, MountSetattr, MoveMount
from cloison.plan.mounts import MAPPING
from cloison.plan.network_steps import Netlink, NetlinkIn, NetlinkOn, Run
from cloison.plan.plan import Action, Plan
from cloison.plan.process_steps import Prlimit, Setrlimit
from cloison.plan.steps import DeviceFilter, Exec, OpenPty, Step, Write
from cloison.plan.text import call

NOT_FOUND = (errno.ENOENT, errno.ENOTDIR)
NOT_MAPPABLE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)
ENOTSUPP = 524  # the kernel's own number, which no errno.h has
_CHECK = "`cloison check` says what this host lacks"
PARAMETERS = "/proc/sys/"
CONTROLLERS = frozenset({"blkio", "cpu", "cpuset", "devices", "hugetlb", "io", "memory", "misc", "pids", "rdma"})
_LIMIT_ERRORS: dict[int, tuple[type[CloisonError], str]] = {
    errno.EINVAL: (Invalid, "the kernel takes no such value there, or none beside the other limits"),
    errno.ERANGE: (Invalid, "the value is out of the kernel's range"),
    errno.ENODEV: (Invalid, "there is no such block device; lsblk lists them"),
    errno.EBUSY: (Kernel, "what runs inside needs more than that now; use --next-start, or end it"),
    errno.ENOSPC: (Kernel, "processes inside would be left without a CPU or a memory node"),
    errno.EOPNOTSUPP: (Unsupported, _CHECK),
    ENOTSUPP: (Unsupported, _CHECK),
}


class CannotExecute(Invalid):
    """The payload's program is there and cannot be executed (exit code 126 of `exec` and `run`)."""

    code = "cannot-execute"


class ProgramNotFound(NotFound):
    """The payload's program is not there (exit code 127 of `exec` and `run`)."""

    code = "program-not-found"


def failure(plan: Plan, index: int, error: int, value: int, said: str = "") -> CloisonError:
    """The exception for step `index` of `plan`, refused with errno `error`; `said` are the words of its program."""
    if not 0 <= index < len(plan.actions):
        return Kernel(f"cannot {plan.title}: {_said(error)}")
    step = plan.actions[index].step
    problem = _failure(plan, index, error, value, said)
    if isinstance(step, Write):
        problem.facts["path"] = step.path
    problem.facts |= {"step": index, "kind": step.kind, "errno": errno.errorcode.get(error, str(error))}
    return problem


def _failure(plan: Plan, index: int, error: int, value: int, said: str) -> CloisonError:
    action = plan.actions[index]
    if isinstance(action.step, Run):
        return _run_failure(plan, action, error, value, said)
    if isinstance(action.step, Netlink | NetlinkIn | NetlinkOn):
        return _netlink_failure(plan, action, error, value)
    if error == errno.ECHILD:
        return Kernel(f"cannot {plan.title}: the new process died {_how(value)} at step {index} ({action.step.kind})")
    if isinstance(action.step, Exec):
        return _exec_failure(plan, action.step, error)
    if isinstance(action.step, Write) and is_limit(action.step.path):
        return _limit_failure(plan, action.step, error)
    if isinstance(action.step, Write) and action.step.path.startswith(PARAMETERS):
        return _parameter_failure(plan, action.step, error)
    if isinstance(action.step, Setrlimit | Prlimit) and error == errno.EPERM:
        return _rlimit_failure(plan, action.step)
    if isinstance(action.step, Write) and action.step.path.endswith("/oom_score_adj") and error == errno.EACCES:
        return Unsupported(
            f"cannot {plan.title}: this host does not let cloison lower the OOM score of a process to"
            f" {action.step.data}",
            hint="choose a higher one; lowering it takes CAP_SYS_RESOURCE",
        )
    if isinstance(action.step, MountSetattr) and action.why.startswith(MAPPING) and error in NOT_MAPPABLE:
        return _mapping_failure(plan, action.why.removeprefix(MAPPING))
    is_full = error in (errno.ENOSPC, errno.EDQUOT)
    if is_full and isinstance(action.step, Fsmount) and action.step.fstype == "overlay":
        return NoSpace(
            f"cannot {plan.title}: no space is left where its files are: its root file system would be read-only",
            hint="free some space (`cloison file rm` removes files of one that is stopped), or enlarge limits.disk",
        )
    what = f"step {index}, {call(action.step)}: {_said(error)}"
    sentence = f"cannot {plan.title}: {action.why or action.step.kind}: {what}"
    if is_full:
        return NoSpace(sentence, hint="free some space, or enlarge the limit that was reached")
    kind, hint = _known(action.step, error)
    return kind(sentence, hint=hint)


def _mapping_failure(plan: Plan, source: str) -> CloisonError:
    """A file system, or one that is mounted in it, whose ids cannot be mapped."""
    from cloison.kernel import mountinfo

    kind = mountinfo.fstype_of(source) or "a file system"
    return Unsupported(
        f"cannot {plan.title}: the ids of {source} cannot be mapped: the kernel does not do that for {kind}, or for"
        " what is mounted in it",
        hint="with idmap=false its files have the owners that the host sees",
    )


def is_limit(path: str) -> bool:
    """Whether a path is a file of a control group's controller."""
    return path.rsplit("/", 1)[-1].split(".", 1)[0] in CONTROLLERS and "/cgroup" in path


def _limit_failure(plan: Plan, step: Write, error: int) -> CloisonError:
    """A limit that the kernel does not take: a file that it does not have, or a value."""
    file = os.path.basename(step.path)
    version = _cgroup_version(step.path)
    if error in NOT_FOUND:
        return Unsupported(
            f"cannot {plan.title}: this kernel has no {file} in its cgroup v{version}",
            hint="do without it, or use a kernel that has it; `cloison check` says what there is",
        )
    said = (
        f"cannot {plan.title}: the kernel refuses {step.data.strip()!r} in {file} (cgroup v{version}): {_said(error)}"
    )
    kind, hint = _LIMIT_ERRORS.get(error) or _known(step, error)
    if error == errno.EACCES and file.startswith("cpuset."):
        kind, hint = Invalid, "it is more than the group above it has"
    if error == errno.EBUSY and file.startswith("memory."):
        hint = "more is in use than the new limit, and could not be given back; choose a larger one"
    return kind(said, hint=hint)


def _parameter_failure(plan: Plan, step: Write, error: int) -> CloisonError:
    key = step.path.removeprefix(PARAMETERS).replace("/", ".")
    if error in NOT_FOUND:
        return Invalid(f"cannot {plan.title}: there is no kernel parameter {key}", hint="sysctl -a lists them")
    said = f"cannot {plan.title}: the kernel refuses {step.data!r} in {key}: {_said(error)}"
    kind = Invalid if error in (errno.EINVAL, errno.ERANGE) else Kernel
    return kind(said, hint="Documentation/admin-guide/sysctl says what it takes")


def _rlimit_failure(plan: Plan, step: Setrlimit | Prlimit) -> CloisonError:
    """EPERM has two reasons: a hard limit that may not be raised, and more open files than the kernel has room for."""
    name = next((name for name, number in RLIMITS.items() if number == step.resource), str(step.resource))
    return Unsupported(
        f"cannot {plan.title}: this host does not let cloison raise the hard limit {name} to {step.hard}",
        hint="choose a lower one: `ulimit -H -a` says what there is; of RLIMIT_NOFILE no more than sysctl fs.nr_open",
    )


def _run_failure(plan: Plan, action: Action, error: int, value: int, said: str) -> CloisonError:
    """A program of the host that did not do its work, in its own words if it has said any."""
    assert isinstance(action.step, Run)
    if error == errno.ECHILD:
        how = f"ended {_how(value)}" + (f": {said}" if said else " and said nothing")
        hint = "`cloison explain` shows what it was told; " + _CHECK
        if '"fwd":' in action.step.input:
            hint = "limits.egress takes nft's fwd: modprobe nft_fwd_netdev (CONFIG_NFT_FWD_NETDEV); " + _CHECK
    else:
        how, hint = f"cannot be run: {_said(error)}", _CHECK
    command = " ".join(action.step.argv)
    return Kernel(f"cannot {plan.title}: {action.why or 'run a program'}: `{command}` {how}", hint=hint)


def _netlink_failure(plan: Plan, action: Action, error: int, value: int) -> CloisonError:
    """What was wanted is in the step's own words; its bytes say nothing to anybody."""
    assert isinstance(action.step, Netlink | NetlinkIn | NetlinkOn)
    missing = _missing_kind(action.step.what, error, value)
    if missing:
        module = {"vlan": "8021q", "tbf": "sch_tbf"}.get(missing, missing)
        return Unsupported(
            f"cannot {plan.title}: {action.why or 'network'}: this kernel has no {missing}, which is needed to"
            f" {action.step.what}: {_said(error)}",
            hint=f"modprobe {module}, or use a kernel that has it; {_CHECK}",
        )
    said = f"cannot {plan.title}: {action.why or 'network'}: {action.step.what}: message {value}: {_said(error)}"
    if error == errno.ENODEV:
        return Kernel(said, hint="an interface that it names is not there; `ip link` lists them")
    if error in (errno.EEXIST, errno.EBUSY):
        return Kernel(said, hint="what it makes is there already; `cloison repair` removes what a dead start left")
    kind, hint = _known(action.step, error)
    return kind(said, hint=hint)


def _missing_kind(what: str, error: int, message: int) -> str:
    """The kind of interface or queue that the kernel does not know; empty where that is not what is wrong. Of those
    behind the first message, which makes the interface, EOPNOTSUPP means something else."""
    if error == errno.EOPNOTSUPP and message:
        return ""
    wanted = {errno.EOPNOTSUPP: r"link add .*\btype (\w+)", errno.ENOENT: r"qdisc replace .* root (\w+)"}.get(error)
    found = re.search(wanted, what) if wanted else None
    return found[1] if found else ""


def _cgroup_version(path: str) -> int:
    """Of the hierarchy that a file is, or was, in: in v2 every group has `cgroup.controllers`, the top included."""
    while (path := os.path.dirname(path)) != "/":
        if os.path.exists(f"{path}/cgroup.controllers"):
            return 2
    return 1


def _exec_failure(plan: Plan, step: Exec, error: int) -> CloisonError:
    word = step.argv[0]
    if error in NOT_FOUND:
        searched = step.programs[0] if len(step.programs) == 1 else "PATH"
        return ProgramNotFound(
            f"cannot {plan.title}: {word!r} was not found inside ({searched})",
            hint="the program, or the interpreter it names, is missing in the instance's file system",
        )
    return CannotExecute(
        f"cannot {plan.title}: {word!r} cannot be executed: {_said(error)}",
        hint="it needs execute permission and a format that this host runs",
    )


def _known(step: Step, error: int) -> tuple[type[CloisonError], str]:
    """The class and the hint for what is known to go wrong."""
    if isinstance(step, MountSetattr) and step.userns >= 0 and error in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
        return Unsupported, (
            "the file system below cloison's data directory cannot be id-mapped: use ext4, xfs or btrfs,"
            " or give unprivileged operation up with security.privileged=true"
        )
    if isinstance(step, Fsmount) and error == errno.ENODEV:
        return Unsupported, f"the kernel has no {step.fstype} file system; " + _CHECK
    if isinstance(step, Fsmount) and step.fstype == "overlay" and error in (errno.EINVAL, errno.EPERM):
        return Unsupported, "overlayfs cannot use these directories; " + _CHECK
    if isinstance(step, DeviceFilter) and error in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
        return Unsupported, "this kernel takes no eBPF program for devices (CONFIG_CGROUP_BPF); " + _CHECK
    if isinstance(step, MoveMount) and step.create and error in (errno.EINVAL, errno.ENOTDIR):
        return Invalid, "a directory goes over a directory, a file over a file: choose another target"
    if isinstance(step, OpenPty) and error == errno.EPERM:
        return Kernel, "limits.devices has to allow terminals: c 5:2 rw and c 136:* rw"
    if error in (errno.ENOSYS, errno.EOPNOTSUPP):
        return Unsupported, _CHECK
    if error in (errno.EPERM, errno.EACCES):
        return Kernel, "run as root; " + _CHECK
    return Kernel, ""


def _said(error: int) -> str:
    return f"{os.strerror(error)} ({errno.errorcode.get(error, error)})"


def _how(wait_status: int) -> str:
    import signal

    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        try:
            return f"by {signal.Signals(number).name}"
        except ValueError:
            return f"by signal {number}"
    return f"with exit code {os.WEXITSTATUS(wait_status)}"
