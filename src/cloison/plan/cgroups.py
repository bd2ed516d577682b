"""Control groups: directories, limits and moves as steps, for v1, hybrid and v2.

    <top>/cloison/<id>           outer: the limits; belongs to the host
    <top>/cloison/<id>/guest     inner: delegated; the top of the instance's cgroup namespace
    <top>/cloison/<id>/exec      v2: the commands that are run inside; belongs to the host

Limits are named after what the user wants, here in the words of the OCI specification; `limit_writes` knows which
file says so in which world. Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst; config-linux.md of the OCI
runtime specification. Pure.
"""

from collections.abc import Iterator

from cloison.base.errors import Unsupported
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.steps import (
    NO_SLOT,
    AttachSelf,
    Chown,
    KillCgroup,
    MkdirCgroup,
    Open,
    RmdirCgroup,
    Step,
    Write,
)
from cloison.spec.oci import Resources

UNLIMITED = -1
DEFAULT_PERIOD_US = 100_000
# On v2 a process may not sit beside child groups with controllers (cgroup-v2.rst, "No Internal Process Constraint"), so
# commands have a group of their own: the host's, beside the instance's tree, where no guest can freeze or remove it.
EXEC_LEAF = "exec"
MAX_DEPTH = 24  # of groups that a guest may nest: the walk that removes them again goes down to 31
# What a delegated v2 cgroup hands over: cgroup-v2.rst, "Delegation". On v1 the first two are called alike.
_DELEGATED_V2 = ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
_DELEGATED_V1 = ("", "cgroup.procs", "tasks")
O_PATH_DIRECTORY = 0o10000000 | 0o200000


def leave_callers(build: Builder, places: tuple[CgroupPlace, ...]) -> None:
    """The monitor leaves the caller's cgroups, so that whoever ends those does not end it."""
    for place in places:
        if place.is_caller_elsewhere:
            build.host(AttachSelf(place.top))


def make(build: Builder, places: tuple[CgroupPlace, ...], resources: Resources, owner: tuple[int, int]) -> None:
    """The directories with their limits; `owner` is the uid and gid (of the host) that the inner ones belong to.

    What is made last is undone first, and there every process is killed."""
    missing = _unlimitable(places, resources)
    if missing:
        raise Unsupported(
            f"this host has no {missing} control group, so that limit cannot be set",
            hint="`cloison check` says which controllers there are",
        )
    killing = _killing(places)
    for place in sorted(places, key=killing.__eq__):
        build.chapter("control groups: limits outside, the instance's own tree inside")
        kill = kills(places) if place == killing else ()
        build.host(MkdirCgroup(place.outer), undo=(*kill, RmdirCgroup(place.outer, 1)))
        _presets(build, place, place.outer.rsplit("/", 1)[0], place.outer)
        for path, value in limit_writes((place,), resources):
            build.host(Write(NO_SLOT, path, value))
        if place.version == 2:
            build.host(Write(NO_SLOT, f"{place.outer}/cgroup.max.depth", str(MAX_DEPTH)))
            build.host(MkdirCgroup(f"{place.outer}/{EXEC_LEAF}"))
        build.host(MkdirCgroup(place.inner))
        _presets(build, place, place.inner)
        if owner != (0, 0) and place in _shown(places):
            delegated = _DELEGATED_V2 if place.version == 2 else _DELEGATED_V1
            for name in delegated:
                build.host(Chown(NO_SLOT, f"{place.inner}/{name}" if name else place.inner, *owner))


def _shown(places: tuple[CgroupPlace, ...]) -> tuple[CgroupPlace, ...]:
    """The hierarchies that an instance has at /sys/fs/cgroup: the v2 tree where there is one, else all of v1. It owns
    its group in these; in the others it could do nothing but harm, such as freezing itself for good."""
    return tuple(place for place in places if place.version == 2) or places


def kills(places: tuple[CgroupPlace, ...]) -> tuple[Step, ...]:
    """What kills every process: through the v2 tree, and through the freezer of v1, where the host or a guest may hold
    some: these die of no signal until they are thawed."""
    ways = [place for place in places if place.version == 2 or "freezer" in place.controllers] or places[-1:]
    return tuple(KillCgroup(place.outer) for place in ways)


def oom_file(places: tuple[CgroupPlace, ...]) -> str:
    """The file that tells of out-of-memory kills (see the step `watch_oom`); empty where nobody counts memory."""
    for place in places:
        if "memory" in place.controllers:
            return f"{place.outer}/{'memory.events' if place.version == 2 else 'memory.oom_control'}"
    return ""


def _killing(places: tuple[CgroupPlace, ...]) -> CgroupPlace | None:
    """The hierarchy through which processes are killed."""
    return max(places, key=lambda place: (place.version == 2, "freezer" in place.controllers), default=None)


def _presets(build: Builder, place: CgroupPlace, *directories: str) -> None:
    if place.enable:
        words = " ".join(f"+{name}" for name in place.enable)
        above = (place.top, *directories) if len(directories) > 1 else ()
        for directory in above:
            build.host(Write(NO_SLOT, f"{directory}/cgroup.subtree_control", words))
    for directory in directories:
        for name, value in place.presets:
            build.host(Write(NO_SLOT, f"{directory}/{name}", value))


def open_unified(build: Builder, places: tuple[CgroupPlace, ...]) -> int:
    """A slot with the inner directory of the v2 tree, for `clone`; none where there is no v2 tree."""
    for place in places:
        if place.version == 2:
            slot = build.slot()
            build.host(Open(slot, NO_SLOT, place.inner, O_PATH_DIRECTORY, 0))
            return slot
    return NO_SLOT


def attach(build: Builder, places: tuple[CgroupPlace, ...]) -> None:
    """The new process joins the v1 hierarchies (v2 was joined at the clone).

    It moves itself, while it still is root of the host: moving another process waits for an RCU grace period in each
    hierarchy, ten milliseconds at worst; a single thread that moves itself does not wait."""
    for place in places:
        if place.version == 1:
            build.inside(AttachSelf(place.inner))


def freezers(places: tuple[CgroupPlace, ...]) -> tuple[tuple[str, str, str], ...]:
    """The files that freeze an instance, v2 first, each with the words for frozen and thawed. Raises Unsupported."""
    found = [(f"{place.outer}/cgroup.freeze", "1", "0") for place in places if place.version == 2]
    found += [
        (f"{place.outer}/freezer.state", "FROZEN", "THAWED") for place in places if "freezer" in place.controllers
    ]
    if not found:
        raise Unsupported(
            "this host has no control group that can freeze", hint="mount a cgroup v2 tree, or the freezer of v1"
        )
    return tuple(found)


def limit_writes(places: tuple[CgroupPlace, ...], resources: Resources) -> Iterator[tuple[str, str]]:
    """The files of the outer directories and what is written to them, for every limit that is set."""
    for place in places:
        for name, value in _limits(place, resources):
            yield f"{place.outer}/{name}", value


def _limits(place: CgroupPlace, resources: Resources) -> Iterator[tuple[str, str]]:
    is_v2 = place.version == 2
    memory, cpu, pids = resources.memory, resources.cpu, resources.pids
    if memory is not None and memory.limit is not None and "memory" in place.controllers:
        if is_v2:
            yield "memory.max", _v2(memory.limit)
        else:
            yield "memory.limit_in_bytes", str(memory.limit)
    if cpu is not None and cpu.quota is not None and "cpu" in place.controllers:
        period = cpu.period or DEFAULT_PERIOD_US
        if is_v2:
            yield "cpu.max", f"{_v2(cpu.quota)} {period}"
        else:
            yield "cpu.cfs_period_us", str(period)
            yield "cpu.cfs_quota_us", str(cpu.quota)
    if pids is not None and "pids" in place.controllers:
        yield "pids.max", _v2(pids.limit)


def _v2(value: int) -> str:
    return "max" if value == UNLIMITED else str(value)


def _unlimitable(places: tuple[CgroupPlace, ...], resources: Resources) -> str:
    """The first controller that a limit asks for and no hierarchy offers."""
    have = {name for place in places for name in place.controllers}
    wanted = {
        "memory": resources.memory is not None and resources.memory.limit is not None,
        "cpu": resources.cpu is not None and resources.cpu.quota is not None,
        "pids": resources.pids is not None,
    }
    return next((name for name, is_wanted in wanted.items() if is_wanted and name not in have), "")


_SAMPLED_V1 = {
    "cpuacct": ("cpuacct.usage",),
    "cpu": ("cpu.stat",),
    "memory": ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.memsw.usage_in_bytes"),
    "blkio": ("blkio.throttle.io_service_bytes_recursive",),
    "pids": ("pids.current",),
}
_SAMPLED_V2 = {
    "memory": ("memory.current", "memory.peak", "memory.swap.current", "memory.events"),
    "io": ("io.stat",),
    "pids": ("pids.current",),
}


def sampled(places: tuple[CgroupPlace, ...]) -> tuple[str, ...]:
    """The files that say what an instance has used; `cloison.kernel.cgroups:counted` understands their texts.

    memory.stat is not among them: v1 puts it together from every group below, while whoever reads it waits. On v1 a
    group counts only its own out-of-memory kills, so the inner one is asked as well."""
    names = {controller for place in places for controller in place.controllers}
    found: list[str] = []
    for place in places:
        table = _SAMPLED_V1 if place.version == 1 else _SAMPLED_V2
        files = [name for controller in place.controllers for name in table.get(controller, ())]
        if place.version == 2 and "cpuacct" not in names:
            files.append("cpu.stat")
        found += [f"{place.outer}/{name}" for name in files]
        if place.version == 1 and "memory" in place.controllers:
            found += [f"{place.outer}/memory.oom_control", f"{place.inner}/memory.oom_control"]
    return tuple(found)
