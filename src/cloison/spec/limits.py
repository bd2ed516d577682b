"""What an instance may use, as values: the group `limits` of its configuration. Pure.

A part of what the host has is kept as a part (`Share`), so that the same configuration fits hosts of any size; it
becomes a number of bytes where it is set and at each start, in `cloison.engine.limits`. So do names of disks and paths
of device nodes.
"""

import msgspec

from cloison.base import units

CPU_PERIOD_US = 100_000  # in which a quota of CPU time is counted: what the kernel itself begins with
UNLIMITED_RLIMIT = (1 << 64) - 1  # RLIM_INFINITY


class Share(msgspec.Struct, frozen=True):
    """A part of what the host has, in hundredths of a percent."""

    hundredths: int

    def of(self, total: int) -> int:
        """That part of `total`, rounded down."""
        return total * self.hundredths // 10_000

    def __str__(self) -> str:
        return units.format_share(self.hundredths)


Amount = int | Share  # of bytes


class Rates(msgspec.Struct, frozen=True, omit_defaults=True):
    """How fast a disk may be used, in bytes and in operations per second; None is "no limit"."""

    read_bps: int | None = None
    write_bps: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None


class DeviceEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the device list: `type` is a, b or c, None is any number, `access` are letters of rwm.

    One with a `path` instead speaks of the device node that is there on the host."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"
    path: str = ""


class Bounds(msgspec.Struct, frozen=True):
    """A limit of each process: getrlimit(2). All bits set is "unlimited"."""

    soft: int
    hard: int


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instance may use; None, nothing or an empty text is "no limit".

    `swap` is what may be swapped out, besides `memory`. `hugepages` are named after the size of a page, such as "2M";
    `io` after a disk, a path on it, or its numbers, such as "8:0"; `raw` are files of the control group."""

    memory: Amount | None = None
    memory_soft: Amount | None = None
    swap: Amount | None = None
    hugepages: dict[str, Amount] = {}
    cpus: int | None = None  # thousandths of a CPU
    cpu_set: str = ""  # such as "0-1,3"
    cpu_weight: int | None = None
    cpu_burst_us: int | None = None
    processes: int | None = None
    io_weight: int | None = None
    io: dict[str, Rates] = {}
    devices: tuple[DeviceEntry, ...] = ()
    rlimits: dict[str, Bounds] = {}
    sysctls: dict[str, str] = {}
    oom_score: int | None = None
    disk: int | None = None  # bytes of its own tree
    inodes: int | None = None
    raw: dict[str, str] = {}


def page_bytes(name: str) -> int:
    """The size of a huge page by its canonical name, such as "2M"."""
    return units.parse_size(name, key="limits.hugepages")
