"""Files of control groups that are set by their own name, translated where v1 and v2 say the same in two ways.

What is a file of the hierarchy's own version is written as it stands. What is one of the other version is translated
by the table `_TO_V2` or `_TO_V1`; where there is no translation (`_ONLY`), that is an error that names the world and
what to use instead. A name that neither table knows is left to the kernel, which says whether there is such a file.

Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst. Pure.
"""

from collections.abc import Callable, Iterator
from typing import Final

from cloison.base.errors import Invalid, Unsupported
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import (
    DEFAULT_PERIOD_US,
    UNLIMITED,
    Line,
    amount,
    place_of,
    shares_of_weight,
    weight_line,
    weight_of_shares,
    without_controller,
    world,
)
from cloison.spec.oci import Resources

Values = dict[str, str]  # every file that is set by name, and the limit of memory, for those that speak of another
_Translation = Callable[[str, Values], Iterator[Line]]

_SAME_CONTROLLER: Final = {"io": "blkio", "blkio": "io", "cpuacct": "cpu"}
_THROTTLES: Final = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}
_FIELDS: Final = {file: field for field, file in _THROTTLES.items()}
_WEIGHTS: Final = ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight")
# Files with a line for each device.
_PER_DEVICE: Final = (
    "io.max",
    "io.latency",
    "blkio.weight_device",
    "blkio.bfq.weight_device",
    "blkio.leaf_weight_device",
    *_FIELDS,
)


def raw_lines(places: tuple[CgroupPlace, ...], resources: Resources) -> Iterator[tuple[CgroupPlace, Line]]:
    """The files of `resources.unified` in their hierarchies. Raises Unsupported and Invalid."""
    values = dict(resources.unified)
    if resources.memory is not None and resources.memory.limit is not None:
        for name in ("memory.max", "memory.limit_in_bytes"):
            values.setdefault(name, str(resources.memory.limit))
    for name, value in resources.unified.items():
        controller = name.split(".", 1)[0]
        place = place_of(places, controller, _SAME_CONTROLLER.get(controller, controller))
        if place is None:
            raise without_controller(places, name, (controller,))
        for line in _lines(place, places, name, value, values):
            yield place, line


def _lines(
    place: CgroupPlace, places: tuple[CgroupPlace, ...], name: str, value: str, values: Values
) -> Iterator[Line]:
    if name in _WEIGHTS and (name == "io.weight" or name != place.weight_file):
        return _weight(place, name, value)
    only = (_ONLY_V1 if place.version == 2 else _ONLY_V2).get(name)
    if only is not None:
        controller = name.split(".", 1)[0]
        raise Unsupported(
            f"{name} is a file of cgroup v{3 - place.version}, and this host has the {controller} controller in "
            f"cgroup v{place.version} ({world(places)}), which has nothing like it",
            hint=only,
        )
    translate = (_TO_V2 if place.version == 2 else _TO_V1).get(name)
    if translate is not None:
        return translate(value, values)
    return iter(_native(_hugepage_name(name, place.version), value))


def _native(name: str, value: str) -> tuple[Line, ...]:
    """A file of this version as it stands, by device where it has a line for each."""
    if name not in _PER_DEVICE:
        return (Line(name, value),)
    device, _, rest = value.strip().partition(" ")
    if not rest:
        raise Invalid(
            f"{name}={value}: no device and value", hint='write it as the kernel takes it, such as "8:0 1048576"'
        )
    if "=" not in rest:
        return (Line(name, rest.strip(), f"{device} "),)
    words = (word.partition("=") for word in rest.split())
    return tuple(Line(name, amount, f"{device} {field}=") for field, _, amount in words)


def _hugepage_name(name: str, version: int) -> str:
    """hugetlb.2MB.max and hugetlb.2MB.limit_in_bytes are the same, for every size of page."""
    if not name.startswith("hugetlb."):
        return name
    if version == 2:
        return name.removesuffix(".limit_in_bytes") + ".max" if name.endswith(".limit_in_bytes") else name
    return name.removesuffix(".max") + ".limit_in_bytes" if name.endswith(".max") else name


# --- weights of block I/O ------------------------------------------------------------------------------------


def _weight(place: CgroupPlace, name: str, value: str) -> Iterator[Line]:
    word = value.strip().removeprefix("default ")
    if not word.isdecimal():
        if name == place.weight_file and place.version == 2:  # a weight for one device
            device, _, weight = word.partition(" ")
            return iter((Line(name, weight, f"{device} "),))
        raise Invalid(f"{name}={value}: no weight", hint="write a number; 100 is the usual one")
    return iter((weight_line(place, int(word)),))


# --- the tables ----------------------------------------------------------------------------------------------


def _renamed(name: str) -> _Translation:
    return lambda value, _values: iter((Line(name, value),))


def _amount(name: str, unlimited: str) -> _Translation:
    """A number of bytes, of which only "no limit" is written differently."""
    return lambda value, _values: iter((Line(name, unlimited if value.strip() in ("max", "-1") else value),))


def _soft_limit_of_low(value: str, _values: Values) -> Iterator[Line]:
    """No protection is the usual value of the one, no soft limit that of the other."""
    yield Line("memory.soft_limit_in_bytes", "-1" if value.strip() in ("0", "max") else value)


def _weight_of_shares(value: str, _values: Values) -> Iterator[Line]:
    yield Line("cpu.weight", str(weight_of_shares(_number("cpu.shares", value))))


def _shares_of_weight(value: str, _values: Values) -> Iterator[Line]:
    yield Line("cpu.shares", str(shares_of_weight(_number("cpu.weight", value))))


def _cpu_max_of_quota(value: str, values: Values) -> Iterator[Line]:
    quota = _number("cpu.cfs_quota_us", value)
    period = values.get("cpu.cfs_period_us", str(DEFAULT_PERIOD_US)).strip()
    yield Line("cpu.max", f"{'max' if quota < 0 else quota} {period}")


def _cpu_max_of_period(value: str, values: Values) -> Iterator[Line]:
    if "cpu.cfs_quota_us" not in values:
        yield Line("cpu.max", f"max {_number('cpu.cfs_period_us', value)}")


def _quota_of_cpu_max(value: str, _values: Values) -> Iterator[Line]:
    quota, _, period = value.strip().partition(" ")
    yield Line("cpu.cfs_period_us", period.strip() or str(DEFAULT_PERIOD_US))
    yield Line("cpu.cfs_quota_us", str(UNLIMITED) if quota == "max" else quota)


def _swap_of_memsw(value: str, values: Values) -> Iterator[Line]:
    if value.strip() == "-1":
        yield Line("memory.swap.max", "max")
        return
    memory = _memory(values, "memory.memsw.limit_in_bytes")
    yield Line("memory.swap.max", str(_size("memory.memsw.limit_in_bytes", value) - memory))


def _memsw_of_swap(value: str, values: Values) -> Iterator[Line]:
    if value.strip() == "max":
        yield Line("memory.memsw.limit_in_bytes", str(UNLIMITED))
        return
    memory = _memory(values, "memory.swap.max")
    yield Line("memory.memsw.limit_in_bytes", str(_size("memory.swap.max", value) + memory))


def _memory(values: Values, name: str) -> int:
    said = values.get("memory.max", values.get("memory.limit_in_bytes", "max")).strip()
    if said in ("max", "-1"):
        raise Invalid(
            f"{name} counts swap in one world and memory with swap in the other, so it needs a limit of memory here",
            hint="set limits.memory, too",
        )
    return _size(name, said)


def _io_max_of_throttle(name: str) -> _Translation:
    def translate(value: str, _values: Values) -> Iterator[Line]:
        for line in _native(name, value):
            yield Line("io.max", "max" if line.value == "0" else line.value, f"{line.item}{_FIELDS[name]}=")

    return translate


def _throttles_of_io_max(value: str, _values: Values) -> Iterator[Line]:
    for line in _native("io.max", value):
        device, _, field = line.item.partition(" ")
        file = _THROTTLES.get(field.removesuffix("="))
        if file is None:
            raise Invalid(f"io.max={value}: no rbps=, wbps=, riops= or wiops=", hint="such as 8:0 rbps=1048576")
        yield Line(file, "0" if line.value == "max" else line.value, f"{device} ")


def _number(name: str, value: str) -> int:
    text = value.strip()
    if not text.removeprefix("-").isdecimal():
        raise Invalid(f"{name}={value}: no number")
    return int(text)


def _size(name: str, value: str) -> int:
    found = amount(value)
    if found is None or found == float("inf"):
        raise Invalid(f"{name}={value}: no number of bytes")
    return int(found)


_TO_V2: Final[dict[str, _Translation]] = {
    "memory.limit_in_bytes": _amount("memory.max", "max"),
    "memory.soft_limit_in_bytes": _amount("memory.low", "0"),
    "memory.memsw.limit_in_bytes": _swap_of_memsw,
    "cpu.shares": _weight_of_shares,
    "cpu.cfs_quota_us": _cpu_max_of_quota,
    "cpu.cfs_period_us": _cpu_max_of_period,
    "cpu.cfs_burst_us": _renamed("cpu.max.burst"),
    **{name: _io_max_of_throttle(name) for name in _FIELDS},
}
_TO_V1: Final[dict[str, _Translation]] = {
    "memory.max": _amount("memory.limit_in_bytes", "-1"),
    "memory.low": _soft_limit_of_low,
    "memory.swap.max": _memsw_of_swap,
    "cpu.weight": _shares_of_weight,
    "cpu.max": _quota_of_cpu_max,
    "cpu.max.burst": _renamed("cpu.cfs_burst_us"),
    "io.max": _throttles_of_io_max,
}
_MEMORY: Final = "limits.memory is a hard limit in both worlds, limits.memory_soft a soft one"
_CPU: Final = "limits.cpus, limits.cpu_weight and limits.cpu_burst work in both worlds"
_IO: Final = "limits.io.<device>.read_bps and its like work in both worlds"
# What the other version has nothing for, and what to use instead.
_ONLY_V2: Final = {
    "memory.high": _MEMORY,
    "memory.min": _MEMORY,
    "memory.swap.high": "limits.swap is a hard limit in both worlds",
    "memory.oom.group": "end the whole instance with its init: systemd does so with OOMPolicy=kill",
    "memory.zswap.max": "limits.swap is a hard limit in both worlds",
    "memory.zswap.writeback": "limits.swap is a hard limit in both worlds",
    "cpu.weight.nice": "limits.cpu_weight works in both worlds",
    "cpuset.cpus.partition": "limits.cpu_set works in both worlds",
    "cpuset.cpus.exclusive": "limits.raw.cpuset.cpu_exclusive is its relative in cgroup v1",
    "io.latency": _IO,
    "io.prio.class": _IO,
}
_ONLY_V1: Final = {
    "memory.swappiness": _MEMORY,
    "memory.oom_control": _MEMORY,
    "memory.use_hierarchy": "cgroup v2 always counts what lies below",
    "memory.move_charge_at_immigrate": _MEMORY,
    "memory.kmem.tcp.limit_in_bytes": "cgroup v2 counts the memory of sockets in limits.memory",
    "cpu.rt_runtime_us": _CPU,
    "cpu.rt_period_us": _CPU,
    "cpuset.cpu_exclusive": "limits.raw.cpuset.cpus.partition is its relative in cgroup v2",
    "cpuset.mem_exclusive": "limits.raw.cpuset.mems works in both worlds",
    "cpuset.mem_hardwall": "limits.raw.cpuset.mems works in both worlds",
    "cpuset.memory_migrate": "cgroup v2 always moves the memory along",
    "cpuset.sched_load_balance": "limits.raw.cpuset.cpus.partition is its relative in cgroup v2",
    "blkio.weight_device": "limits.raw.io.weight takes a device, too: 8:0 200",
    "blkio.leaf_weight": _IO,
    "blkio.leaf_weight_device": _IO,
}
