"""The limits of one instance: changed while it runs, and tried out before they are kept.

A change is one plan (`plan.live`): all of it, or nothing. Whether this host takes a limit at all is asked of the kernel
itself, with the same files and values in groups without processes (`check`).
"""

import contextlib
import errno

import msgspec

from cloison.base import cpu_lists
from cloison.base.errors import CloisonError, Kernel
from cloison.base.units import format_size
from cloison.kernel import block_devices, cgroup_files, cgroups, inventory
from cloison.plan import limits, live
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import amount
from cloison.plan.limits import Setting
from cloison.plan.steps import NO_SLOT, Write
from cloison.runtime import host_steps
from cloison.spec.driver import HostSize, LiveLimits
from cloison.spec.oci import Resources

WEIGHT_FILES = {1: ("blkio.weight", "blkio.bfq.weight"), 2: ("io.weight", "io.bfq.weight")}
_WEIGHTS = frozenset(name for names in WEIGHT_FILES.values() for name in names)


def host_size() -> HostSize:
    """What there is to be limited on this host."""
    memory, swap = inventory.memory_and_swap()
    cpus = tuple(sorted(cpu_lists.parse(inventory.setting("/sys/devices/system/cpu/online") or "0")))
    return HostSize(memory, swap, cpus, inventory.hugepage_sizes())


def block_device(name: str) -> tuple[int, int]:
    """The numbers of the whole disk that a device or a path is or is on. Raises Invalid."""
    return block_devices.whole_disk(name)


def with_weight_files(places: tuple[CgroupPlace, ...], resources: Resources) -> tuple[CgroupPlace, ...]:
    """`places`, knowing the file of block I/O weights where `resources` ask for a weight: looking costs a moment."""
    is_wanted = resources.block_io is not None and resources.block_io.weight is not None
    if not is_wanted and not _WEIGHTS & set(resources.unified):
        return places
    return tuple(_with_weight_file(place) for place in places)


def _with_weight_file(place: CgroupPlace) -> CgroupPlace:
    names = WEIGHT_FILES[place.version]
    if not {"io", "blkio"} & set(place.controllers):
        return place
    found = cgroup_files.first_of(place.outer, names)
    if not found:
        with (
            contextlib.suppress(OSError),
            cgroup_files.looked_into(place.top, enable="io" if place.version == 2 else "") as path,
        ):
            found = cgroup_files.first_of(path, names)
    return msgspec.structs.replace(place, weight_file=found)


def check(places: tuple[CgroupPlace, ...], wanted: LiveLimits) -> None:
    """Try `wanted` out, in groups at `places` that are made for it and removed again.

    Raises Unsupported for what the host's world of control groups or its kernel cannot express, Invalid for a value
    that the kernel refuses."""
    places = with_weight_files(places, wanted.resources)
    build = Builder("set these limits")
    live.try_out(build, places, wanted)
    plan = build.plan()
    if plan.actions:
        host_steps.run(plan)


def set_limits(places: tuple[CgroupPlace, ...], name: str, before: LiveLimits, after: LiveLimits) -> None:
    """Change the limits of a running instance from `before` to `after`, all of them or none.

    Raises Unsupported, Invalid, and Kernel for what the kernel refuses now, such as less memory than is in use."""
    old = limits.settings(with_weight_files(places, before.resources), before.resources)
    new = limits.settings(with_weight_files(places, after.resources), after.resources)
    wanted = live.targets(old, new)
    groups = {
        setting.place.outer: cgroup_files.below(setting.place.outer) for setting in wanted if setting.is_for_every_group
    }
    files = _present(wanted, groups)
    build = Builder(f"set the limits of {name}")
    live.change(build, wanted, files, groups)
    plan = build.plan()
    if not plan.actions:
        return
    _make_room(name, wanted)
    used = _memory_used(wanted)
    try:
        host_steps.run(plan)
    except Kernel as refused:
        raise _too_little_memory(name, wanted, used, refused) from refused


def _present(wanted: tuple[Setting, ...], groups: live.Groups) -> dict[str, str]:
    """What every file that is about to be written says now, and those that bound it."""
    paths = [
        f"{directory}/{setting.line.file}"
        for setting in wanted
        for directory in (setting.place.outer, *groups.get(setting.place.outer, ()))
    ]
    return {path: text for path in paths if (text := cgroups.read(path)) is not None}


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
        raise _in_use(name, limit, used, _current(place))


def _too_little_memory(name: str, wanted: tuple[Setting, ...], used: int, refused: Kernel) -> CloisonError:
    found = _limit_of_memory(wanted)
    is_memory = "memory." in str(refused.facts.get("path", ""))
    if found is None or refused.facts.get("errno") != errno.errorcode[errno.EBUSY] or not is_memory:
        return refused
    return _in_use(name, found[1], used, _current(found[0].place))


def _in_use(name: str, limit: int, used: int, left: int) -> Kernel:
    return Kernel(
        f"cannot set the limits of {name}: it uses {format_size(used)} of memory, of which {format_size(left)} cannot "
        f"be given back, which is more than {format_size(limit)}",
        hint=f"choose at least {format_size(left)} and some more, end processes inside, or use --next-start",
        in_use_bytes=used,
        kept_bytes=left,
        limit_bytes=limit,
    )
