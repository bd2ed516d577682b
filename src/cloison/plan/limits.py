"""Limits as files of control groups, in every world: which file, in which hierarchy, and what is written to it.

    word                     v1                                v2
    memory.limit             memory.limit_in_bytes             memory.max
    memory.reservation       memory.soft_limit_in_bytes        memory.low
    memory.swap              memory.memsw.limit_in_bytes       memory.swap.max (without the memory)
    cpu.quota, cpu.period    cpu.cfs_quota_us, _period_us      cpu.max
    cpu.burst                cpu.cfs_burst_us                  cpu.max.burst
    cpu.shares               cpu.shares                        cpu.weight
    cpu.cpus                 cpuset.cpus                       cpuset.cpus
    pids.limit               pids.max                          pids.max
    blockIO.throttle*        blkio.throttle.*_device           io.max
    blockIO.weight           blkio.weight, blkio.bfq.weight    io.weight, io.bfq.weight
    hugepageLimits           hugetlb.*.limit_in_bytes          hugetlb.*.max
    unified                  by name, see `plan.raw_limits`

The words are those of the OCI specification. Which column holds is asked for each controller: in the hybrid world one
may be in v1 and the next in v2. Devices are the business of `plan.device_filter`. Pure.

Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst; config-linux.md of the OCI runtime
specification.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from cloison.base.errors import Invalid
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import (
    DEFAULT_PERIOD_US,
    UNLIMITED,
    Line,
    place_of,
    size_of,
    weight_line,
    weight_of_shares,
    without_controller,
)
from cloison.spec.oci import BlockIo, CpuLimits, MemoryLimits, Resources

# What a v1 group does not share with those below it. A cpuset may not hold more than the one above it, but it may hold
# less; and limits of block devices know of no hierarchy at all (block/blk-throttle.c, throtl_pd_init).
_FOR_EVERY_GROUP: Final = ("cpuset.", "blkio.throttle.")


class Setting(msgspec.Struct, frozen=True):
    """A line in its place: a file of the outer directory, and on v1 sometimes of every group below it."""

    place: CgroupPlace
    line: Line

    @property
    def path(self) -> str:
        """The file of the outer directory."""
        return f"{self.place.outer}/{self.line.file}"

    @property
    def data(self) -> str:
        """What is written. No write at all would be made of no bytes: a newline says "nothing"."""
        return f"{self.line.item}{self.line.value}" or "\n"

    @property
    def identity(self) -> tuple[str, str]:
        """What a later setting replaces."""
        return self.path, self.line.item

    @property
    def is_for_every_group(self) -> bool:
        """Whether it has to be written to the groups below the outer one, too."""
        return self.place.version == 1 and self.line.file.startswith(_FOR_EVERY_GROUP)


def settings(places: tuple[CgroupPlace, ...], resources: Resources) -> tuple[Setting, ...]:
    """Every limit that is set, in the order in which a new group takes them; files by their own name come last and win.

    Raises Unsupported for what this world of control groups cannot express, and Invalid."""
    found: dict[tuple[str, str], Setting] = {}
    for family in _FAMILIES:
        for place, line in _family(places, family, resources):
            setting = Setting(place, line)
            found[setting.identity] = setting
    if resources.unified:
        from cloison.plan.raw_limits import raw_lines

        for place, line in raw_lines(places, resources):
            setting = Setting(place, line)
            found[setting.identity] = setting
    return tuple(found.values())


def controllers_of(settings_of_place: tuple[Setting, ...]) -> tuple[str, ...]:
    """The controllers that these files belong to, in order."""
    return tuple(dict.fromkeys(setting.line.file.split(".", 1)[0] for setting in settings_of_place))


class _Family(NamedTuple):
    """The limits of one controller, which v1 and v2 may name differently."""

    what: str
    controllers: tuple[str, ...]
    v1: Callable[[Resources, CgroupPlace], Iterator[Line]]
    v2: Callable[[Resources, CgroupPlace], Iterator[Line]]
    is_wanted: Callable[[Resources], bool]


def _family(
    places: tuple[CgroupPlace, ...], family: _Family, resources: Resources
) -> Iterator[tuple[CgroupPlace, Line]]:
    if not family.is_wanted(resources):
        return
    place = place_of(places, *family.controllers)
    if place is None:
        raise without_controller(places, family.what, family.controllers)
    for line in (family.v2 if place.version == 2 else family.v1)(resources, place):
        yield place, line


# --- memory ------------------------------------------------------------------------------------------------


def _is_memory_wanted(resources: Resources) -> bool:
    return resources.memory is not None and resources.memory != MemoryLimits()


def _memory_v1(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    memory = resources.memory or MemoryLimits()
    _require_limit_of_swap(memory)
    if memory.limit is not None:
        yield Line("memory.limit_in_bytes", str(memory.limit))
    if memory.swap is not None:
        yield Line("memory.memsw.limit_in_bytes", str(memory.swap))
    if memory.reservation is not None:
        yield Line("memory.soft_limit_in_bytes", str(memory.reservation))


def _memory_v2(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    memory = resources.memory or MemoryLimits()
    _require_limit_of_swap(memory)
    if memory.limit is not None:
        yield Line("memory.max", size_of(memory.limit))
    if memory.swap is not None:
        swap = UNLIMITED if memory.swap == UNLIMITED else memory.swap - (memory.limit or 0)
        yield Line("memory.swap.max", size_of(swap))
    if memory.reservation is not None:
        yield Line("memory.low", "0" if memory.reservation == UNLIMITED else str(memory.reservation))


def _require_limit_of_swap(memory: MemoryLimits) -> None:
    if memory.swap is None or memory.swap == UNLIMITED:
        return
    if memory.limit is None or memory.limit == UNLIMITED:
        raise Invalid("a limit of swap needs one of memory", hint="set limits.memory, too")
    if memory.swap < memory.limit:
        raise Invalid(
            f"memory and swap together ({memory.swap} bytes) cannot be less than the memory ({memory.limit} bytes)"
        )


# --- CPU time ------------------------------------------------------------------------------------------------


def _is_cpu_wanted(resources: Resources) -> bool:
    cpu = resources.cpu
    return cpu is not None and any(value is not None for value in (cpu.quota, cpu.period, cpu.burst, cpu.shares))


def _cpu_v1(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    cpu = resources.cpu or CpuLimits()
    if cpu.period not in (None, DEFAULT_PERIOD_US):  # which a new group has, and writing costs as much as making one
        yield Line("cpu.cfs_period_us", str(cpu.period))
    if cpu.quota is not None:
        yield Line("cpu.cfs_quota_us", str(cpu.quota))
    if cpu.burst is not None:
        yield Line("cpu.cfs_burst_us", str(cpu.burst))
    if cpu.shares is not None:
        yield Line("cpu.shares", str(cpu.shares))


def _cpu_v2(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    cpu = resources.cpu or CpuLimits()
    if cpu.quota is not None or cpu.period is not None:
        quota = size_of(UNLIMITED if cpu.quota is None else cpu.quota)
        yield Line("cpu.max", f"{quota} {cpu.period or DEFAULT_PERIOD_US}")
    if cpu.burst is not None:
        yield Line("cpu.max.burst", str(cpu.burst))
    if cpu.shares is not None:
        yield Line("cpu.weight", str(weight_of_shares(cpu.shares)))


def _is_cpuset_wanted(resources: Resources) -> bool:
    return resources.cpu is not None and bool(resources.cpu.cpus)


def _cpuset(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    yield Line("cpuset.cpus", (resources.cpu or CpuLimits()).cpus)


# --- processes, huge pages -----------------------------------------------------------------------------------


def _pids(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    if resources.pids is not None:
        yield Line("pids.max", size_of(resources.pids.limit))


def _hugepages_v1(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    for size in resources.hugepage_limits:
        yield Line(f"hugetlb.{size.page_size}.limit_in_bytes", str(size.limit))
        yield Line(f"hugetlb.{size.page_size}.rsvd.limit_in_bytes", str(size.limit))


def _hugepages_v2(resources: Resources, _place: CgroupPlace) -> Iterator[Line]:
    """Both are limited: who maps too many is told at once (`rsvd`), and not by SIGBUS at the first touch."""
    for size in resources.hugepage_limits:
        yield Line(f"hugetlb.{size.page_size}.max", size_of(size.limit))
        yield Line(f"hugetlb.{size.page_size}.rsvd.max", size_of(size.limit))


# --- block devices -------------------------------------------------------------------------------------------


def _is_io_wanted(resources: Resources) -> bool:
    return resources.block_io is not None and resources.block_io != BlockIo()


def _io_v1(resources: Resources, place: CgroupPlace) -> Iterator[Line]:
    io = resources.block_io or BlockIo()
    for file, _field, device, rate in _throttles(io):
        yield Line(f"blkio.throttle.{file}_device", str(rate), f"{device} ")
    if io.weight is not None:
        yield weight_line(place, io.weight)


def _io_v2(resources: Resources, place: CgroupPlace) -> Iterator[Line]:
    io = resources.block_io or BlockIo()
    for _file, field, device, rate in _throttles(io):
        yield Line("io.max", "max" if rate == 0 else str(rate), f"{device} {field}=")
    if io.weight is not None:
        yield weight_line(place, io.weight)


def _throttles(io: BlockIo) -> Iterator[tuple[str, str, str, int]]:
    """The v1 file, the v2 word, the device and the rate."""
    for file, field, devices in (
        ("read_bps", "rbps", io.throttle_read_bps_device),
        ("write_bps", "wbps", io.throttle_write_bps_device),
        ("read_iops", "riops", io.throttle_read_iops_device),
        ("write_iops", "wiops", io.throttle_write_iops_device),
    ):
        for device in devices:
            yield file, field, f"{device.major}:{device.minor}", device.rate


_FAMILIES: Final = (
    _Family("memory", ("memory",), _memory_v1, _memory_v2, _is_memory_wanted),
    _Family("CPU time", ("cpu",), _cpu_v1, _cpu_v2, _is_cpu_wanted),
    _Family("the set of CPUs", ("cpuset",), _cpuset, _cpuset, _is_cpuset_wanted),
    _Family("the number of processes", ("pids",), _pids, _pids, lambda resources: resources.pids is not None),
    _Family("the use of huge pages", ("hugetlb",), _hugepages_v1, _hugepages_v2, lambda r: bool(r.hugepage_limits)),
    _Family("block I/O", ("io", "blkio"), _io_v1, _io_v2, _is_io_wanted),
)
