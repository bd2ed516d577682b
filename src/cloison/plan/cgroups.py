"""Control groups: directories, limits and moves as steps, for v1, hybrid and v2.

    <top>/keepers                monitors, where <top> is not the mount point: see `runtime.scope`
    <top>/cloison/<id>           outer: the limits; belongs to the host
    <top>/cloison/<id>/guest     inner: delegated; the top of the instance's cgroup namespace
    <top>/cloison/<id>/exec      v2: the commands that are run inside; belongs to the host

`plan.limits` knows which file says what is wanted in which world, and `plan.device_filter` what may be done with
devices. Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst. Pure.
"""

from cloison.base.errors import Unsupported
from cloison.plan import limits
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limits import Setting
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

# On v2 a process may not sit beside child groups with controllers (cgroup-v2.rst, "No Internal Process Constraint"), so
# commands have a group of their own: the host's, beside the instance's tree, where no guest can freeze or remove it.
EXEC_LEAF = "exec"
CHAPTER = "control groups: limits outside, the instance's own tree inside"
MAX_DEPTH = 24  # of groups that a guest may nest: the walk that removes them again goes down to 31
# What a delegated v2 cgroup hands over: cgroup-v2.rst, "Delegation". On v1 the first two are called alike.
_DELEGATED_V2 = ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
_DELEGATED_V1 = ("", "cgroup.procs", "tasks")
O_PATH_DIRECTORY = 0o10000000 | 0o200000


def leave_callers(build: Builder, places: tuple[CgroupPlace, ...]) -> None:
    """The monitor leaves the caller's cgroups, so that whoever ends those does not end it."""
    for place in places:
        if place.is_caller_elsewhere:
            build.host(AttachSelf(place.keepers or place.top))


def make(build: Builder, places: tuple[CgroupPlace, ...], resources: Resources, owner: tuple[int, int]) -> None:
    """The directories with their limits; `owner` is the uid and gid (of the host) that the inner ones belong to.

    What is made last is undone first, and there every process is killed. Raises Unsupported and Invalid for a limit
    that this host's world cannot express."""
    wanted = limits.settings(places, resources)
    devices, rules, restriction = _devices(places, resources)
    killing = _killing(places)
    for place in sorted(places, key=killing.__eq__):
        build.chapter(CHAPTER)
        kill = kills(places) if place == killing else ()
        own = tuple(setting for setting in wanted if setting.place is place)
        _make_outer(build, place, own, kill)
        if place is devices:
            build.chapter(f"devices: {rules}")
            for step in restriction:
                build.host(step)
            build.chapter(CHAPTER)
        if place.version == 2:
            build.host(Write(NO_SLOT, f"{place.outer}/cgroup.max.depth", str(MAX_DEPTH)))
            build.host(MkdirCgroup(f"{place.outer}/{EXEC_LEAF}"))
        build.host(MkdirCgroup(place.inner))
        _preset(build, place, place.inner, tuple(setting for setting in own if setting.is_for_every_group))
        if owner != (0, 0) and place in _delegated(places):
            delegated = _DELEGATED_V2 if place.version == 2 else _DELEGATED_V1
            for name in delegated:
                build.host(Chown(NO_SLOT, f"{place.inner}/{name}" if name else place.inner, *owner))


def _make_outer(build: Builder, place: CgroupPlace, own: tuple[Setting, ...], kill: tuple[Step, ...]) -> None:
    """The outer directory, with what is handed down to it and all limits in it."""
    parent = place.outer.rsplit("/", 1)[0]
    build.host(MkdirCgroup(place.outer), undo=(*kill, RmdirCgroup(place.outer, 1)))
    for step in hand_down(place, own):
        build.host(step)
    _preset(build, place, parent, ())
    if place.enable:
        build.host(Write(NO_SLOT, f"{place.outer}/cgroup.subtree_control", _plus(place.enable)))
    _preset(build, place, place.outer, own)


def hand_down(place: CgroupPlace, own: tuple[Setting, ...]) -> tuple[Step, ...]:
    """What makes the files of the outer directory appear (v2): the usual controllers, and those that `own` asks for.

    These have to be handed down from the very top. Who manages it (systemd) leaves alone what it does not know."""
    if place.version != 2:
        return ()
    names = tuple(dict.fromkeys((*place.enable, *limits.controllers_of(own))))
    more = tuple(name for name in names if name not in place.enable)
    above = [(directory, more) for directory in place.above] if more else []
    above += [(directory, names) for directory in (place.top, place.outer.rsplit("/", 1)[0])] if names else []
    return tuple(Write(NO_SLOT, f"{directory}/cgroup.subtree_control", _plus(words)) for directory, words in above)


def _plus(names: tuple[str, ...]) -> str:
    return " ".join(f"+{name}" for name in names)


def _preset(build: Builder, place: CgroupPlace, directory: str, own: tuple[Setting, ...]) -> None:
    """What a new directory needs first, but for what a limit says better; then the limits."""
    limited = {setting.line.file for setting in own}
    for name, value in place.presets:
        if name not in limited:
            build.host(Write(NO_SLOT, f"{directory}/{name}", value))
    for setting in own:
        build.host(Write(NO_SLOT, f"{directory}/{setting.line.file}", setting.data))


def try_out(build: Builder, places: tuple[CgroupPlace, ...], resources: Resources) -> None:
    """Write every limit in groups without processes, which are gone again at once: the kernel itself is asked."""
    wanted = limits.settings(places, resources)
    devices, _rules, restriction = _devices(places, resources)
    for place in places:
        own = tuple(setting for setting in wanted if setting.place is place)
        if own or place is devices:
            build.chapter("limits, tried out in an empty control group")
            _make_outer(build, place, own, ())
            for step in restriction if place is devices else ():
                build.host(step)
            build.host(RmdirCgroup(place.outer, 1))


def _devices(places: tuple[CgroupPlace, ...], resources: Resources) -> tuple[CgroupPlace | None, str, tuple[Step, ...]]:
    """Where the use of devices is limited, by what rules, for people, and with what steps; None where it is not."""
    if not resources.devices:
        return None, "", ()
    from cloison.plan import device_filter

    place = device_filter.place_of_rules(places, resources.devices)
    if place is None:
        return None, "", ()
    return place, device_filter.said(resources.devices), device_filter.restrict(place, resources.devices)


def _delegated(places: tuple[CgroupPlace, ...]) -> tuple[CgroupPlace, ...]:
    """The hierarchies in which an instance owns its group: of those that it has at /sys/fs/cgroup, the v2 tree where
    there is one, else all of v1 but blkio. In the others it could do nothing but harm, such as freezing itself for
    good, or making a group in blkio of v1, for which no limit of the groups above it holds."""
    unified = tuple(place for place in places if place.version == 2)
    return unified or tuple(place for place in places if "blkio" not in place.controllers)


def kills(places: tuple[CgroupPlace, ...]) -> tuple[KillCgroup, ...]:
    """What kills every process: through the v2 tree, and through the freezer of v1, where the host or a guest may hold
    some: these die of no signal until they are thawed. v2 comes first, where whoever forks cannot get away."""
    ways = [place for place in places if place.version == 2 or "freezer" in place.controllers] or places[-1:]
    return tuple(KillCgroup(place.outer) for place in sorted(ways, key=lambda place: -place.version))


def oom_file(places: tuple[CgroupPlace, ...]) -> str:
    """The file that tells of out-of-memory kills (see the step `watch_oom`); empty where nobody counts memory."""
    for place in places:
        if "memory" in place.controllers:
            return f"{place.outer}/{'memory.events' if place.version == 2 else 'memory.oom_control'}"
    return ""


def _killing(places: tuple[CgroupPlace, ...]) -> CgroupPlace | None:
    """The hierarchy through which processes are killed."""
    return max(places, key=lambda place: (place.version == 2, "freezer" in place.controllers), default=None)


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
