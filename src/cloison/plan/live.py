"""Limits of a running instance: from the files as they are to the files as they should be, all or none. Pure.

The order is the kernel's: memory and swap together are never less than the memory, a burst is never more than the
quota, and a cpuset of v1 never has less than those below it. Every write knows what was there before it, and what was
written before a refused one is written back in reverse order, through the same states.

Source: Documentation/admin-guide/cgroup-v1/memory.rst, cpusets.rst; kernel/sched/core.c, tg_set_bandwidth.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from cloison.base import cpu_lists
from cloison.base.errors import Unsupported
from cloison.kernel.abi import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWUTS, RLIMITS
from cloison.plan import cgroups, device_filter, limits
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import Line, amount
from cloison.plan.limits import Setting
from cloison.plan.plan import Plan
from cloison.plan.process import parameter_path
from cloison.plan.process_steps import Prlimit, Setns, Setresgid, Setresuid, Setrlimit, Unshare
from cloison.plan.steps import NO_SLOT, Write
from cloison.spec.driver import LiveLimits
from cloison.spec.oci import DeviceRule

WHY: Final = "limits of the running instance"
NAMESPACES: Final = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS  # that have parameters of their own
# What a new group has, by file; what is not here cannot be taken back by anything but a restart.
_USUAL: Final = {
    "memory.limit_in_bytes": "-1",
    "memory.memsw.limit_in_bytes": "-1",
    "memory.soft_limit_in_bytes": "-1",
    "memory.max": "max",
    "memory.high": "max",
    "memory.low": "0",
    "memory.min": "0",
    "memory.swap.max": "max",
    "memory.swap.high": "max",
    "memory.zswap.max": "max",
    "memory.oom.group": "0",
    "cpu.shares": "1024",
    "cpu.cfs_period_us": "100000",
    "cpu.cfs_quota_us": "-1",
    "cpu.cfs_burst_us": "0",
    "cpu.weight": "100",
    "cpu.max": "max 100000",
    "cpu.max.burst": "0",
    "cpu.idle": "0",
    "cpu.uclamp.min": "0.00",
    "cpu.uclamp.max": "max",
    "cpuset.cpus": "",
    "cpuset.mems": "",
    "pids.max": "max",
    "io.max": "max",
    "io.weight": "100",
    "io.bfq.weight": "100",
    "blkio.bfq.weight": "100",
    "blkio.weight": "500",
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
}
# The second of each pair has an upper or a lower bound in the first.
_AT_LEAST: Final = {"memory.memsw.limit_in_bytes": "memory.limit_in_bytes"}
_AT_MOST: Final = {"cpu.cfs_burst_us": "cpu.cfs_quota_us", "cpu.max.burst": "cpu.max"}

INHERITED_CPUSETS: Final = ("cpuset.cpus", "cpuset.mems")  # in v2
Files = Mapping[str, str]  # path: what it says now
Groups = Mapping[str, tuple[str, ...]]  # outer directory: all groups below it, each before those below it


class Change(msgspec.Struct, frozen=True):
    """A file of one group: what is written, and what is written to take that back."""

    path: str
    data: str
    back: str


def targets(before: tuple[Setting, ...], after: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """What has to be written so that a group with the limits of `before` has those of `after`.

    A limit that is gone becomes what a new group has. Raises Unsupported where that is not known."""
    old = {setting.identity: setting for setting in before}
    new = {setting.identity: setting for setting in after}
    gone = tuple(_usual(setting) for identity, setting in old.items() if identity not in new)
    return (*gone, *(setting for setting in after if old.get(setting.identity) != setting))


def _usual(setting: Setting) -> Setting:
    line = setting.line
    value = usual_value(setting.place, line.file)
    if value is None:
        raise Unsupported(
            f"{line.file} cannot be taken back while the instance runs: the kernel has no usual value for it",
            hint="set it to a value, or take it away with --next-start",
        )
    return msgspec.structs.replace(setting, line=Line(line.file, value, line.item))


def usual_value(place: CgroupPlace, file: str) -> str | None:
    """What a new group has in `file`; None where that is not known."""
    if place.version == 1 and file.startswith("cpuset."):
        return dict(place.presets).get(file)
    if file.startswith("hugetlb."):
        return "max" if place.version == 2 else "-1"
    return _USUAL.get(file)


def change(build: Builder, wanted: tuple[Setting, ...], files: Files, groups: Groups) -> None:
    """The steps that write `wanted`, with their way back. `files` has what every concerned file says now, `groups`
    what is below each outer directory."""
    build.chapter(WHY)
    for place in {setting.place.outer: setting.place for setting in wanted}.values():
        for step in _enable(place, tuple(setting for setting in wanted if setting.place == place)):
            build.host(step)
    for changed in _changes(wanted, files, groups):
        build.host(Write(NO_SLOT, changed.path, changed.data), undo=(Write(NO_SLOT, changed.path, changed.back),))


def exchange_devices(
    build: Builder,
    place: CgroupPlace,
    before: tuple[DeviceRule, ...],
    after: tuple[DeviceRule, ...],
    below: tuple[str, ...],
) -> None:
    """The steps from one list of devices to another; `below` are the groups below the outer one."""
    build.chapter("what it may do with devices from now on")
    for step, undo in device_filter.exchange(place, before, after, below):
        build.host(step, undo=undo)


def parameters(
    build: Builder, wanted: Mapping[str, str], present: Mapping[str, str], pidfd: int, *, as_its_root: bool = False
) -> None:
    """The steps that write kernel parameters of the process behind `pidfd`: the kernel takes those of the writer's
    namespaces. What follows happens in these, too, and so does the way back.

    `as_its_root`: as the root of its user namespace, from which there is no way back to the host's."""
    build.chapter("kernel parameters of its namespaces")
    build.host(Setns(pidfd, NAMESPACES | (CLONE_NEWUSER if as_its_root else 0)))
    if as_its_root:
        build.host(Setresgid(0))
        build.host(Setresuid(0))
    for key, value in wanted.items():
        path = parameter_path(key)
        build.host(Write(NO_SLOT, path, value), undo=(Write(NO_SLOT, path, present[key]),))


class ProcessLimits(msgspec.Struct, frozen=True):
    """Limits of one process: by the number of the resource (soft, hard), and what is added to its badness."""

    rlimits: tuple[tuple[int, tuple[int, int]], ...] = ()
    oom_score_adj: int | None = None


def processes(build: Builder, wanted: ProcessLimits, present: Mapping[int, ProcessLimits]) -> None:
    """The steps that limit every process in `present`, which has what each has now. One that has ended meanwhile is
    passed over, by `prlimit` itself, and as a warning by the write."""
    build.chapter("limits of every process that runs")
    for pid, now in present.items():
        before = dict(now.rlimits)
        for number, (soft, hard) in wanted.rlimits:
            if before[number] != (soft, hard):
                build.host(Prlimit(pid, number, soft, hard), undo=(Prlimit(pid, number, *before[number]),))
        if now.oom_score_adj != wanted.oom_score_adj:
            build.host(_badness(pid, wanted), undo=(_badness(pid, now),), optional=True)


def _badness(pid: int | str, limits_of_process: ProcessLimits) -> Write:
    return Write(NO_SLOT, f"/proc/{pid}/oom_score_adj", str(limits_of_process.oom_score_adj))


def try_out(build: Builder, places: tuple[CgroupPlace, ...], wanted: LiveLimits) -> None:
    """The steps that try `wanted` out where nothing runs: in empty groups, in new namespaces, and on the launcher
    itself; at their end nothing of it is left."""
    cgroups.try_out(build, places, wanted.resources)
    if wanted.sysctl:
        build.chapter("kernel parameters, tried out in new namespaces")
        build.host(Unshare(NAMESPACES))
        for key, value in wanted.sysctl.items():
            build.host(Write(NO_SLOT, parameter_path(key), value))
    build.chapter("limits of a process, tried out on this one")
    if wanted.oom_score_adj is not None:
        build.host(_badness("self", ProcessLimits(oom_score_adj=wanted.oom_score_adj)))
    for limit in wanted.rlimits:
        build.host(Setrlimit(RLIMITS[limit.type], limit.soft, limit.hard))


def undo_of(plan: Plan) -> Plan:
    """The plan that takes back one that has succeeded: as the same user, in the same namespaces."""
    build = Builder(f"take back: {plan.title}", inherited=plan.inherited)
    build.chapter("take back what was changed before")
    for action in plan.actions:
        if isinstance(action.step, Setns | Setresgid | Setresuid):
            build.host(action.step)
    for step, _final in plan.undo():
        build.host(step, optional=True)
    return build.plan()


def _enable(place: CgroupPlace, own: tuple[Setting, ...]) -> tuple[Write, ...]:
    """Controllers that are handed down only to who asks for them (v2). They stay: others may use them by now."""
    if set(limits.controllers_of(own)) <= set(place.enable):
        return ()
    return tuple(step for step in cgroups.hand_down(place, own) if isinstance(step, Write))


def _changes(wanted: tuple[Setting, ...], files: Files, groups: Groups) -> Iterator[Change]:
    for setting in ordered(wanted, files):
        below = groups.get(setting.place.outer, ()) if setting.is_for_every_group else ()
        if setting.place.version == 1 and setting.line.file in ("cpuset.cpus", "cpuset.mems"):
            yield from _cpuset(setting, (setting.place.outer, *below), files)
            continue
        if setting.line.file in INHERITED_CPUSETS:
            yield from _inherited_cpuset(setting, files)
            continue
        for directory in (setting.place.outer, *below):
            path = f"{directory}/{setting.line.file}"
            back = present(setting, files.get(path))
            if back != setting.line.value:
                yield Change(path, setting.data, setting.line.item + back or "\n")


def present(setting: Setting, text: str | None) -> str:
    """What the file says now about the setting's item; the usual value where it says nothing, or is not there yet."""
    line = setting.line
    usual = usual_value(setting.place, line.file) or ""
    if text is None:
        return usual
    if not line.item:
        return text.strip()
    head, _, field = line.item.partition(" ")
    for row in text.splitlines():
        words = row.split()
        if words and words[0] == head:
            if not field:
                return words[1]
            return next((word.removeprefix(field) for word in words[1:] if word.startswith(field)), usual)
    return usual


def ordered(wanted: Iterable[Setting], files: Files) -> tuple[Setting, ...]:
    """In the order that the kernel takes: what is bounded goes first or last, as it moves away from its bound."""
    first: list[Setting] = []
    rest: list[Setting] = []
    last: list[Setting] = []
    for setting in wanted:
        file = setting.line.file
        if file not in _AT_LEAST and file not in _AT_MOST:
            rest.append(setting)
            continue
        is_raised = _amount(setting.line.value) > _amount(present(setting, files.get(setting.path)))
        (first if is_raised == (file in _AT_LEAST) else last).append(setting)
    return (*first, *rest, *last)


def _amount(value: str) -> float:
    """A number to compare by; what is none will be refused by the kernel."""
    found = amount(value)
    return 0 if found is None else found


# --- cpusets of v2 -------------------------------------------------------------------------------------------


def _inherited_cpuset(setting: Setting, files: Files) -> Iterator[Change]:
    """An empty one has all of the group above it. With processes inside it can be filled, but not emptied again
    (kernel/cgroup/cpuset.c, validate_change): then all of those above are written out."""
    above = files.get(above_of(setting), "").strip()
    back = present(setting, files.get(setting.path))
    if back != setting.line.value:
        yield Change(setting.path, setting.line.value or above or "\n", back or above or "\n")


def above_of(setting: Setting) -> str:
    """The file that says what a cpuset of v2 has where it is empty."""
    return f"{setting.place.outer.rsplit('/', 1)[0]}/{setting.line.file}.effective"


# --- cpusets of v1 -------------------------------------------------------------------------------------------


def _cpuset(setting: Setting, directories: tuple[str, ...], files: Files) -> Iterator[Change]:
    """No group may have what the one above it has not, at no moment: so all take up the new ones from the top down,
    and let go of the old ones from the bottom up. A group that a guest has restricted stays so as far as it can."""
    name = setting.line.file
    outer = directories[0]
    now = {directory: cpu_lists.parse(files.get(f"{directory}/{name}", "")) for directory in directories}
    goal = {outer: cpu_lists.parse(setting.line.value)}
    for directory in directories[1:]:
        above = goal[directory.rsplit("/", 1)[0]]
        follows = now[directory] == now[outer] or not now[directory] & above
        goal[directory] = above if follows else now[directory] & above
    for directory in directories:
        both = now[directory] | goal[directory]
        if both != now[directory]:
            yield _cpuset_change(f"{directory}/{name}", both, now[directory])
    for directory in reversed(directories):
        both = now[directory] | goal[directory]
        if goal[directory] != both:
            yield _cpuset_change(f"{directory}/{name}", goal[directory], both)


def _cpuset_change(path: str, to: frozenset[int], back: frozenset[int]) -> Change:
    return Change(path, cpu_lists.write(to) or "\n", cpu_lists.write(back) or "\n")
