"""Limits as the kernel's own files tell them: at the start, while it runs, and once they are lifted again.

That they bite is in test_limits_bite.py.
"""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from cloison import Instance, Invalid, Kernel
from tests.integration import witness
from tests.integration.conftest import PAYLOAD, Disk, Launch, busy, eventually

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.guest]

MEBIBYTE = 1 << 20
NO_LIMIT = "9223372036854771712"  # of memory in v1: the last page that a signed 64-bit number can count
ALL_CPUS = f"0-{(os.cpu_count() or 1) - 1}".replace("0-0", "0")


def unlimited(text: str) -> str:
    """The text, with one way of saying that there is no limit: the kernel does not always write "max" for no limit of
    bytes; and a CPU set of v2 is empty in the beginning, but never again."""
    return text.strip().replace(NO_LIMIT, "max") or ALL_CPUS


class File(NamedTuple):
    """What a file says with the limit, and without it."""

    name: str
    limited: str
    unlimited: str


class Case(NamedTuple):
    """A limit, its value, and where it is to be found in either world; `besides` is what it needs to make sense."""

    key: str
    value: str
    controller: str
    v1: File
    v2: File
    besides: tuple[str, ...] = ()

    def is_limited(self, instance: Instance) -> bool:
        group = witness.group(instance, self.controller)
        file = self.v1 if group.version == 1 else self.v2
        if not (group.path / file.name).exists():
            return False  # in v2, a controller that nobody asked for is not handed down
        found = unlimited(group.read(file.name))
        assert found in (file.limited, unlimited(file.unlimited))
        return found == file.limited


CASES = (
    Case(
        "limits.memory",
        "64M",
        "memory",
        File("memory.limit_in_bytes", "67108864", NO_LIMIT),
        File("memory.max", "67108864", "max"),
    ),
    Case(
        "limits.memory_soft",
        "32M",
        "memory",
        File("memory.soft_limit_in_bytes", "33554432", NO_LIMIT),
        File("memory.low", "33554432", "0"),
    ),
    Case(
        "limits.swap",
        "16M",
        "memory",
        File("memory.memsw.limit_in_bytes", "83886080", NO_LIMIT),
        File("memory.swap.max", "16777216", "max"),
        ("limits.memory=64M",),
    ),
    Case(
        "limits.cpus",
        "1.5",
        "cpu",
        File("cpu.cfs_quota_us", "150000", "-1"),
        File("cpu.max", "150000 100000", "max 100000"),
    ),
    Case(
        "limits.cpu_burst",
        "20ms",
        "cpu",
        File("cpu.cfs_burst_us", "20000", "0"),
        File("cpu.max.burst", "20000", "0"),
        ("limits.cpus=0.5",),
    ),
    Case(
        "limits.cpu_weight",
        "300",
        "cpu",
        File("cpu.shares", "3072", "1024"),
        File("cpu.weight", "300", "100"),
    ),
    Case(
        "limits.cpu_set",
        "0",
        "cpuset",
        File("cpuset.cpus", "0", ALL_CPUS),
        File("cpuset.cpus", "0", ALL_CPUS),
    ),
    Case(
        "limits.processes",
        "50",
        "pids",
        File("pids.max", "50", "max"),
        File("pids.max", "50", "max"),
    ),
    Case(
        "limits.hugepages.2M",
        "4M",
        "hugetlb",
        File("hugetlb.2MB.limit_in_bytes", "4194304", NO_LIMIT),
        File("hugetlb.2MB.max", "4194304", "max"),
    ),
    Case(
        'limits.raw."pids.max"',
        "60",
        "pids",
        File("pids.max", "60", "max"),
        File("pids.max", "60", "max"),
    ),
    Case(  # a name of v2, which is another one in v1
        "limits.raw.cpu.weight",
        "200",
        "cpu",
        File("cpu.shares", "2048", "1024"),
        File("cpu.weight", "200", "100"),
    ),
    Case(  # and the other way round
        "limits.raw.memory.limit_in_bytes",
        "67108864",
        "memory",
        File("memory.limit_in_bytes", "67108864", NO_LIMIT),
        File("memory.max", "67108864", "max"),
    ),
)
every_limit = pytest.mark.parametrize("case", CASES, ids=[case.key for case in CASES])


@every_limit
def test_a_limit_is_in_force_from_the_start(launch: Launch, case: Case) -> None:
    assert case.is_limited(launch(*case.besides, f"{case.key}={case.value}"))


@every_limit
def test_without_a_limit_there_is_none(launch: Launch, case: Case) -> None:
    assert not case.is_limited(launch(*case.besides))


@every_limit
def test_a_limit_can_be_set_while_it_runs(launch: Launch, case: Case) -> None:
    web = launch(*case.besides)
    assert web.set(f"{case.key}={case.value}").live == (case.key,)
    assert case.is_limited(web)


@every_limit
def test_a_limit_can_be_lifted_while_it_runs(launch: Launch, case: Case) -> None:
    web = launch(*case.besides, f"{case.key}={case.value}")
    web.set(f"{case.key}=")
    assert not case.is_limited(web)


@every_limit
def test_a_limit_that_was_set_while_it_ran_is_there_after_a_restart(launch: Launch, case: Case) -> None:
    web = launch(*case.besides)
    web.set(f"{case.key}={case.value}")
    web.restart(force=True)
    assert case.is_limited(web)


def test_nothing_is_written_where_there_is_no_limit(web: Instance) -> None:
    """What it has at the start without any limit is what it has with one set and lifted again."""
    before = limits_of(web)
    settings = {case.key: case.value for case in CASES if not case.key.startswith("limits.raw")}
    if not any("hugetlb" in path for path in before):
        del settings["limits.hugepages.2M"]  # its controller is handed down when it is asked for, and stays
    web.set(*(f"{key}={value}" for key, value in settings.items()))
    assert limits_of(web) != before
    web.set(*(f"{key}=" for key in settings))
    assert limits_of(web) == before


def limits_of(instance: Instance) -> dict[str, str]:
    return {path: unlimited(text) for path, text in witness.snapshot(instance).items()}


def weight_file(instance: Instance) -> Path | None:
    """Where this kernel keeps the weight of its disks; it need not have any."""
    names = ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight")
    files = [witness.group(instance, "io").path / name for name in names]
    return next((file for file in files if file.exists()), None)


def test_the_weight_of_its_disks_can_be_set_and_lifted_while_it_runs(web: Instance) -> None:
    file = weight_file(web)
    if file is None:
        pytest.skip("this kernel has no weight of block I/O: no bfq, no iocost")
    web.set("limits.io.weight=300")
    assert file.read_text().split()[-1] == "300"
    web.restart(force=True)
    assert file.read_text().split()[-1] == "300"
    web.set("limits.io.weight=")
    assert file.read_text().split()[-1] == "100"


@pytest.mark.needs_loop
@pytest.mark.parametrize("what", ["device", "mountpoint"])
def test_a_rate_of_a_disk_is_in_force_from_the_start(launch: Launch, disk: Disk, what: str) -> None:
    """It is named by its device, or by where it is mounted."""
    web = launch(f"limits.io.{getattr(disk, what)}.read_bps=1M", f"limits.io.{getattr(disk, what)}.write_iops=50")
    assert _rates(web, disk) == {"rbps": "1048576", "wiops": "50"}


@pytest.mark.needs_loop
def test_a_rate_of_a_disk_can_be_set_and_lifted_while_it_runs(web: Instance, disk: Disk) -> None:
    web.set(f"limits.io.{disk.device}.write_bps=2M", f"limits.io.{disk.device}.read_iops=70")
    assert _rates(web, disk) == {"wbps": "2097152", "riops": "70"}
    web.set(f"limits.io.{disk.device}.write_bps=")
    assert _rates(web, disk) == {"riops": "70"}
    web.set(f"limits.io.{disk.device}.read_iops=")
    assert _rates(web, disk) == {}


def _rates(instance: Instance, disk: Disk) -> dict[str, str]:
    """What bounds the disk, in the words of v2."""
    io = witness.group(instance, "io")
    if io.version == 2:
        lines = [line.split() for line in io.read("io.max").splitlines()]
        words = [word.split("=") for number, *words in lines if number == disk.number for word in words]
        return {name: value for name, value in words if value != "max"}
    names = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
    rows = [
        (word, *line.split())
        for word, name in names.items()
        for line in io.read(f"blkio.throttle.{name}_device").splitlines()
    ]
    return {word: rate for word, number, rate in rows if number == disk.number}


def test_a_limit_below_what_is_in_use_is_refused(web: Instance) -> None:
    """Its own use is named; v1 refuses it itself, v2 would kill."""
    with busy(web, "hold", str(32 * MEBIBYTE)), pytest.raises(Kernel) as refused:
        web.set("limits.memory=4M")
    assert "limits.memory=4M" in str(refused.value) or "4M" in str(refused.value)
    assert "in use" in f"{refused.value} {refused.value.hint}" or "uses" in str(refused.value)
    assert web.state == "running"


def test_of_several_limits_none_is_set_where_one_is_refused(web: Instance) -> None:
    before = witness.snapshot(web)
    with busy(web, "hold", str(32 * MEBIBYTE)), pytest.raises(Kernel):
        web.set("limits.cpus=0.5", "limits.memory=4M", "limits.processes=50", "limits.cpu_set=0")
    assert witness.snapshot(web) == before


def test_a_limit_that_was_refused_is_not_remembered(web: Instance) -> None:
    with busy(web, "hold", str(32 * MEBIBYTE)), pytest.raises(Kernel):
        web.set("limits.cpus=0.5", "limits.memory=4M")
    assert (web.get("limits.cpus"), web.get("limits.memory")) == ("", "")


def test_of_several_assignments_none_is_made_where_one_is_wrong(web: Instance) -> None:
    before = witness.snapshot(web)
    with pytest.raises(Invalid):
        web.set("limits.processes=50", "limits.memory=12X")
    assert (web.get("limits.processes"), witness.snapshot(web)) == ("", before)


def test_its_processes_are_counted(quick: Instance) -> None:
    assert quick.info().usage.processes == 1


def test_the_peak_of_its_memory_is_remembered(web: Instance) -> None:
    web.exec([PAYLOAD, "alloc", str(16 * MEBIBYTE)])
    assert (web.info().usage.memory_peak_bytes or 0) >= 16 * MEBIBYTE


def test_its_cpu_time_is_counted(web: Instance) -> None:
    before = witness.cpu_ns(web)
    with busy(web, "burn", "1"):
        assert eventually(lambda: witness.cpu_ns(web) - before > 50_000_000)
    assert (web.info().usage.cpu_ns or 0) - before > 50_000_000


def test_its_monitor_is_not_counted(web: Instance) -> None:
    groups = Path(f"/proc/{web.info().monitor_pid}/cgroup").read_text()
    assert web.id not in groups
