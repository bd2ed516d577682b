"""The limits of a running instance: from those in force to those that are wanted, all of them or none.

First a plan for what belongs to the instance as a whole: files of its control groups, kernel parameters of its
namespaces, devices. Then plans for its processes, until none is left that was born with the old limits. Where one of
these is refused, it takes itself back, and those before it are taken back by another plan.

A limit that is gone becomes what a fresh start would give: for a parameter what new namespaces have, for a process what
the monitor has, whose child the init is.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import msgspec

from cloison.base.errors import CloisonError, Invalid, Kernel, Unsupported
from cloison.base.units import format_size
from cloison.kernel import cgroup_files, cgroups, namespaced, process_limits
from cloison.kernel.abi import RLIMITS
from cloison.plan import device_filter, limits, live
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import amount
from cloison.plan.limits import Setting
from cloison.plan.live import ProcessLimits
from cloison.plan.plan import Plan
from cloison.plan.process import parameter_path
from cloison.plan.steps import NO_SLOT, Write
from cloison.runtime import host_steps
from cloison.runtime.failures import failure
from cloison.runtime.limits import with_weight_files
from cloison.spec.driver import LiveLimits

INIT = 0  # the slot of the init's pidfd
INHERITED = ("the pidfd of its init",)
MAX_ROUNDS = 50  # of looking for processes with old limits: each is born of one that the round before had not seen yet
BATCH = 500  # processes in one plan, which is at most 1 MiB long
GONE = (errno.ENOENT, errno.ESRCH)


class Kept(msgspec.Struct, frozen=True):
    """Who keeps an instance: the init and its monitor, as the host sees them, and a pidfd of the init."""

    pid: int
    monitor_pid: int
    pidfd: int


Keeper = Callable[[], AbstractContextManager[Kept]]


def set_limits(
    places: tuple[CgroupPlace, ...], name: str, before: LiveLimits, after: LiveLimits, keeper: Keeper
) -> None:
    """Change the limits of a running instance from `before` to `after`, all of them or none.

    Raises Unsupported, Invalid, and Kernel for what the kernel refuses now, such as less memory than is in use."""
    title = f"set the limits of {name}"
    old = limits.settings(with_weight_files(places, before.resources), before.resources)
    new = limits.settings(with_weight_files(places, after.resources), after.resources)
    wanted = live.targets(old, new)
    is_of_processes = (before.rlimits, before.oom_score_adj) != (after.rlimits, after.oom_score_adj)
    if before.sysctl == after.sysctl and not is_of_processes:
        _run(name, wanted, _whole(Builder(title), places, wanted, before, after))
        return
    with keeper() as kept:
        processes = _process_limits(before, after, kept)
        _require_raising(name, processes, _present(processes, _members(places)))
        ours, its = _parameters(before, after, kept)
        plan = _whole(Builder(title, inherited=INHERITED), places, wanted, before, after, ours)
        done: list[Plan] = []
        try:
            if _run(name, wanted, plan, kept.pidfd):
                done.append(plan)
            if its:
                done.append(_set_as_its_root(title, its, kept.pidfd))
            if is_of_processes:
                _limit_processes(title, places, processes, done)
        except BaseException:
            for plan in reversed(done):
                host_steps.run(live.undo_of(plan), (kept.pidfd,)[: len(plan.inherited)])
            raise


def _whole(
    build: Builder,
    places: tuple[CgroupPlace, ...],
    wanted: tuple[Setting, ...],
    before: LiveLimits,
    after: LiveLimits,
    parameters: "tuple[Parameter, ...]" = (),
) -> Plan:
    """The plan for what belongs to the instance as a whole; what cannot be refused any more comes last."""
    groups = {
        setting.place.outer: cgroup_files.below(setting.place.outer) for setting in wanted if setting.is_for_every_group
    }
    live.change(build, wanted, _texts(wanted, groups), groups)
    if parameters:
        live.parameters(build, *_by_key(parameters), INIT)
    old, new = before.resources.devices, after.resources.devices
    if old != new:
        place = device_filter.require_place(places)
        below = cgroup_files.below(place.outer) if place.version == 1 else ()
        live.exchange_devices(build, place, old, new, below)
    return build.plan()


def _texts(wanted: tuple[Setting, ...], groups: live.Groups) -> dict[str, str]:
    """What every file that is about to be written says now."""
    paths = [
        f"{directory}/{setting.line.file}"
        for setting in wanted
        for directory in (setting.place.outer, *groups.get(setting.place.outer, ()))
    ]
    paths += [live.above_of(setting) for setting in wanted if setting.line.file in live.INHERITED_CPUSETS]
    return {path: text for path in paths if (text := cgroups.read(path)) is not None}


def _run(name: str, wanted: tuple[Setting, ...], plan: Plan, pidfd: int = -1) -> bool:
    """Run the plan for the whole; False where there is nothing to be done."""
    if not plan.actions:
        return False
    _make_room(name, wanted)
    used = _memory_used(wanted)
    try:
        host_steps.run(plan, (pidfd,)[: len(plan.inherited)])
    except Kernel as refused:
        raise _too_little_memory(name, wanted, used, refused) from refused
    return True


# --- kernel parameters ---------------------------------------------------------------------------------------


class Parameter(msgspec.Struct, frozen=True):
    """A kernel parameter: what it is to be, and what it is."""

    key: str
    value: str
    present: str


def _parameters(
    before: LiveLimits, after: LiveLimits, kept: Kept
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """The parameters that change: those that root of the host may write, and those that only its own root may.

    Raises Unsupported for one that cannot be taken back, Invalid for one that is not there."""
    ours: list[Parameter] = []
    its: list[Parameter] = []
    for key in dict.fromkeys((*before.sysctl, *after.sysctl)):
        if before.sysctl.get(key) != after.sysctl.get(key):
            found = _parameter(key, after.sysctl.get(key), kept)
            (ours if namespaced.may_write(kept.pid, parameter_path(key)) else its).append(found)
    return tuple(ours), tuple(its)


def _parameter(key: str, wanted: str | None, kept: Kept) -> Parameter:
    path = parameter_path(key)
    present = namespaced.parameter_of(kept.pid, path)
    if present is None:
        raise Invalid(f"the instance has no kernel parameter {key}", hint="sysctl -a inside lists them")
    value = namespaced.new_parameter(path) if wanted is None else wanted
    if value is None:
        raise Unsupported(
            f"{key} cannot be taken back while the instance runs: new namespaces have no such parameter",
            hint="set it to a value, or take it away with --next-start",
        )
    return Parameter(key, value, present)


def _by_key(parameters: tuple[Parameter, ...]) -> tuple[dict[str, str], dict[str, str]]:
    return {one.key: one.value for one in parameters}, {one.key: one.present for one in parameters}


def _set_as_its_root(title: str, parameters: tuple[Parameter, ...], pidfd: int) -> Plan:
    build = Builder(title, inherited=INHERITED)
    live.parameters(build, *_by_key(parameters), INIT, as_its_root=True)
    plan = build.plan()
    host_steps.run(plan, (pidfd,))
    return plan


# --- processes -----------------------------------------------------------------------------------------------


def _process_limits(before: LiveLimits, after: LiveLimits, kept: Kept) -> ProcessLimits:
    """The limits of processes that change."""
    old = {limit.type: (limit.soft, limit.hard) for limit in before.rlimits}
    new = {limit.type: (limit.soft, limit.hard) for limit in after.rlimits}
    found = []
    for kind in dict.fromkeys((*old, *new)):
        bounds = new.get(kind) or process_limits.bounds(kept.monitor_pid, RLIMITS[kind])
        if old.get(kind) != new.get(kind) and bounds is not None:
            found.append((RLIMITS[kind], bounds))
    score = None
    if before.oom_score_adj != after.oom_score_adj:
        score = after.oom_score_adj
        score = process_limits.oom_score_adj(kept.monitor_pid) if score is None else score
    return ProcessLimits(tuple(found), score)


def _members(places: tuple[CgroupPlace, ...]) -> tuple[int, ...]:
    return cgroups.members(places[-1].outer) if places else ()


def _present(wanted: ProcessLimits, pids: tuple[int, ...]) -> dict[int, ProcessLimits]:
    """What each process has now of the limits in `wanted`, of those processes that have it otherwise."""
    found = {}
    for pid in pids:
        rlimits = [(number, process_limits.bounds(pid, number)) for number, _bounds in wanted.rlimits]
        score = None if wanted.oom_score_adj is None else process_limits.oom_score_adj(pid)
        has_ended = any(bounds is None for _number, bounds in rlimits) or (score is None) != (
            wanted.oom_score_adj is None
        )
        now = ProcessLimits(tuple((number, bounds) for number, bounds in rlimits if bounds is not None), score)
        if not has_ended and now != wanted:
            found[pid] = now
    return found


def _require_raising(name: str, wanted: ProcessLimits, present: dict[int, ProcessLimits]) -> None:
    """Refuse now what could not be taken back later: without CAP_SYS_RESOURCE a hard limit can only be lowered."""
    if process_limits.may_raise():
        return
    names = {number: kind for kind, number in RLIMITS.items()}
    for pid, now in present.items():
        for (number, (_soft, hard)), (_number, (_now, ceiling)) in zip(wanted.rlimits, now.rlimits, strict=True):
            if hard > ceiling:
                raise Unsupported(
                    f"cannot set the limits of {name}: the hard limit {names[number]} of process {pid} is {ceiling},"
                    " and this host does not let cloison raise it (no CAP_SYS_RESOURCE)",
                    hint=f"choose at most {ceiling}, or use --next-start",
                )


def _limit_processes(title: str, places: tuple[CgroupPlace, ...], wanted: ProcessLimits, done: list[Plan]) -> None:
    """Give every process the limits, until none is found that has others; what was done is added to `done`."""
    for _round in range(MAX_ROUNDS):
        present = _present(wanted, _members(places))
        if not present:
            return
        for some in _batches(present):
            _limit_some(title, wanted, some, done)
    raise Kernel(
        f"cannot {title}: processes with other limits are born faster than they can be found",
        hint="freeze it first, or set limits.processes",
    )


def _batches(present: dict[int, ProcessLimits]) -> Iterator[dict[int, ProcessLimits]]:
    pids = tuple(present)
    for start in range(0, len(pids), BATCH):
        yield {pid: present[pid] for pid in pids[start : start + BATCH]}


def _limit_some(title: str, wanted: ProcessLimits, present: dict[int, ProcessLimits], done: list[Plan]) -> None:
    build = Builder(title)
    live.processes(build, wanted, present)
    plan = build.plan()
    refused = host_steps.run(plan)
    done.append(plan)
    for index, error in refused:
        if error not in GONE:
            raise failure(plan, index, error, 0)


# --- memory that is in use ------------------------------------------------------------------------------------


def _limit_of_memory(wanted: tuple[Setting, ...]) -> tuple[Setting, int] | None:
    """The hard limit of memory among `wanted`, in bytes; None where there is none."""
    for setting in wanted:
        if setting.line.file in ("memory.max", "memory.limit_in_bytes"):
            limit = amount(setting.line.value)
            return None if limit is None or limit == float("inf") else (setting, int(limit))
    return None


def _memory_used(wanted: tuple[Setting, ...]) -> int:
    found = _limit_of_memory(wanted)
    return 0 if found is None else _current(found[0].place)


def _current(place: CgroupPlace) -> int:
    name = "memory.current" if place.version == 2 else "memory.usage_in_bytes"
    return int(cgroups.read(f"{place.outer}/{name}") or 0)


def _make_room(name: str, wanted: tuple[Setting, ...]) -> None:
    """On v2 a limit below what is in use is never refused: the kernel kills. So what is too much is reclaimed first,
    and where that is not enough the limit is refused here. Source: cgroup-v2.rst, "memory.max", "memory.reclaim"."""
    found = _limit_of_memory(wanted)
    if found is None or found[0].place.version != 2:
        return
    place, limit = found[0].place, found[1]
    used = _current(place)
    if used <= limit:
        return
    build = Builder(f"set the limits of {name}")
    build.chapter("memory that can be given back is given back first")
    build.host(Write(NO_SLOT, f"{place.outer}/memory.reclaim", str(used - limit)), optional=True)
    host_steps.run(build.plan())
    if _current(place) > limit:
        raise _in_use(name, found[0], limit, used)


def _too_little_memory(name: str, wanted: tuple[Setting, ...], used: int, refused: Kernel) -> CloisonError:
    found = _limit_of_memory(wanted)
    is_memory = "memory." in str(refused.facts.get("path", ""))
    if found is None or refused.facts.get("errno") != errno.errorcode[errno.EBUSY] or not is_memory:
        return refused
    return _in_use(name, *found, used)


def _in_use(name: str, setting: Setting, limit: int, used: int) -> Kernel:
    left = _current(setting.place)
    return Kernel(
        f"cannot set the limits of {name}: it uses {format_size(used)} of memory, of which {format_size(left)} cannot "
        f"be given back, which is more than {format_size(limit)}",
        hint=f"choose at least {format_size(left)} and some more, end processes inside, or use --next-start",
        in_use_bytes=used,
        kept_bytes=left,
        limit_bytes=limit,
        path=setting.path,
    )
