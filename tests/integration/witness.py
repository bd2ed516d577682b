"""What an instance's control groups say, found and read without asking cloison.

/proc/PID/cgroup tells where its init sits in each hierarchy, mountinfo where that hierarchy is mounted; the group with
the limits is the directory on that way that bears the instance's id. So this holds for cgroup v1, hybrid and v2, and
below a scope of systemd's.
"""

import itertools
from pathlib import Path

import pytest

from cloison import Instance
from tests.integration import traces

# Written by whoever wants to change them, and by nobody else; the rest counts, and so is never twice the same.
LIMIT_FILES = (
    "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes memory.swappiness cpu.shares"
    " cpu.cfs_quota_us cpu.cfs_period_us cpu.cfs_burst_us cpuset.cpus pids.max devices.list"
    " blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device"
    " blkio.throttle.write_iops_device memory.max memory.low memory.high memory.swap.max cpu.max cpu.max.burst"
    " cpu.weight io.max io.weight hugetlb.2MB.max hugetlb.1GB.max"
).split()


class Group:
    """The control group of an instance that carries its limits, in one hierarchy."""

    def __init__(self, path: Path, version: int) -> None:
        self.path, self.version = path, version

    def read(self, name: str) -> str:
        return (self.path / name).read_text().strip()

    def numbers(self, name: str) -> dict[str, int]:
        """The lines of a file that are a word and a number."""
        return {word: int(number) for word, number in (line.split() for line in self.read(name).splitlines())}

    def below(self) -> list[Path]:
        """This group and every one in it."""
        return [self.path, *(path for path in self.path.rglob("*") if path.is_dir())]


def group(instance: Instance, controller: str) -> Group:
    """Where `controller` bounds the instance. A test that needs one that this host has not is skipped."""
    for line in Path(f"/proc/{instance.observe().pid}/cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        version = 2 if number == "0" else 1
        mount = _mount_of(names.split(",")[0], version)
        if mount is None or not _offers(mount, version, controller, names.split(",")):
            continue
        below = path.removeprefix(mount.root.rstrip("/")).split("/")
        return Group(Path(mount.point, *below[: below.index(instance.id) + 1]), version)
    pytest.skip(f"this host has no {controller} controller")


def groups(instance: Instance) -> list[Group]:
    """All of them, each once."""
    controllers = "memory cpu cpuset pids devices io hugetlb freezer".split()
    found = {}
    for controller in controllers:
        try:
            one = group(instance, controller)
        except pytest.skip.Exception:
            continue
        found[one.path] = one
    return list(found.values())


def snapshot(instance: Instance) -> dict[str, str]:
    """Every file that a limit can be in, of every group of the instance, with what it says now."""
    below = itertools.chain.from_iterable(one.below() for one in groups(instance))
    files = [path / name for path in below for name in LIMIT_FILES]
    return {str(path): path.read_text() for path in files if path.exists()}


def said(instance: Instance, controller: str, v1: str, v2: str) -> str:
    """What the file says that is called `v1` in the one world and `v2` in the other."""
    one = group(instance, controller)
    return one.read(v1 if one.version == 1 else v2)


def cpu_ns(instance: Instance) -> int:
    """CPU time that it has used."""
    one = group(instance, "cpu")
    if one.version == 2:
        return one.numbers("cpu.stat")["usage_usec"] * 1000
    return int(group(instance, "cpuacct").read("cpuacct.usage"))


def periods(instance: Instance) -> tuple[int, int]:
    """How many periods its quota has been counted in, and in how many of them it was used up."""
    numbers = group(instance, "cpu").numbers("cpu.stat")
    return numbers["nr_periods"], numbers["nr_throttled"]


def oom_kills(instance: Instance) -> int:
    """How many of its processes were killed for want of memory."""
    one = group(instance, "memory")
    if one.version == 2:
        return one.numbers("memory.events")["oom_kill"]
    return sum(Group(path, 1).numbers("memory.oom_control")["oom_kill"] for path in one.below())


def pids(instance: Instance) -> list[int]:
    """Every process that is in a group of the instance."""
    one = group(instance, "pids")
    return [int(word) for path in one.below() for word in (path / "cgroup.procs").read_text().split()]


def _offers(mount: traces.Mount, version: int, controller: str, names: list[str]) -> bool:
    if version == 1:
        return {"io": "blkio"}.get(controller, controller) in names
    return controller in Path(mount.point, "cgroup.controllers").read_text().split()


def _mount_of(controller: str, version: int) -> traces.Mount | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount = traces.Mount(line)
        if version == 2 and mount.fstype == "cgroup2":
            return mount
        super_options = line.rsplit(" ", 1)[1].split(",")
        if version == 1 and mount.fstype == "cgroup" and controller in super_options:
            return mount
    return None
