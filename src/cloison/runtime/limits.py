"""What this host can be asked to limit, and whether it takes what is asked: the kernel itself is asked, with the same
files and values, in groups without processes. `runtime.live_limits` changes what runs.
"""

import contextlib

import msgspec

from cloison.base import cpu_lists
from cloison.kernel import block_devices, cgroup_files, inventory, namespaced
from cloison.plan import live
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace, HostLimits
from cloison.plan.process import parameter_path
from cloison.runtime import host_steps
from cloison.spec.driver import HostSize, LiveLimits
from cloison.spec.oci import Resources, Spec

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
    # A plan may be asked for while the scope of systemd's that it is for is not there.
    for top in () if found else (place.top, *place.above[:1]):
        with (
            contextlib.suppress(OSError),
            cgroup_files.looked_into(top, enable="io" if place.version == 2 else "") as path,
        ):
            found = found or cgroup_files.first_of(path, names)
    return msgspec.structs.replace(place, weight_file=found)


def with_parameters(able: HostLimits, spec: Spec) -> HostLimits:
    """`able`, knowing the kernel parameters that root of the instance may not write itself: looking costs a process for
    each of its IPC namespace."""
    asked = (key for key in spec.linux.sysctl if spec.linux.uid_mappings and not key.startswith("net."))
    refused = tuple(key for key in asked if not namespaced.new_root_may_write(parameter_path(key)))
    return msgspec.structs.replace(able, parameters=refused)


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
