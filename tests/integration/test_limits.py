"""Limits: what the kernel's own files say, and what happens at them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloison import Instance, Invalid, Kernel
from tests.integration import traces
from tests.integration.conftest import PAYLOAD, Launch, answer

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

MEBIBYTE = 1 << 20
# A limit, a value for it, and what each kind of hierarchy then says in which file.
SAID = {
    "limits.memory": ("64M", {"memory.limit_in_bytes": "67108864", "memory.max": "67108864"}),
    "limits.cpus": ("1.5", {"cpu.cfs_quota_us": "150000", "cpu.max": "150000 100000"}),
    "limits.processes": ("50", {"pids.max": "50"}),
}
UNLIMITED = {"memory.limit_in_bytes": "9223372036854771712", "memory.max": "max"}
UNLIMITED |= {"cpu.cfs_quota_us": "-1", "cpu.max": "max 100000", "pids.max": "max"}


def said(instance: Instance, *names: str) -> dict[str, str]:
    """The files of these names in the instance's outer control groups, with what is in them."""
    paths = [top / "cloison" / instance.id / name for top in traces.cgroup_tops() for name in names]
    return {path.name: path.read_text().strip() for path in paths if path.exists()}


@contextmanager
def holding(instance: Instance, size: int) -> Iterator[None]:
    """A process inside that keeps that much memory."""
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    with instance.spawn([PAYLOAD, "hold", str(size)], stdio=(null, writer, null)) as execution:
        os.close(writer)
        assert os.read(reader, 100) == b"ok\n"
        try:
            yield
        finally:
            execution.signal(9)
    os.close(reader)
    os.close(null)


@pytest.mark.parametrize("key", SAID)
def test_a_limit_is_in_force_from_the_start(launch: Launch, key: str) -> None:
    value, expected = SAID[key]
    found = said(launch(f"{key}={value}"), *expected)
    assert found and found.items() <= expected.items()


@pytest.mark.parametrize("key", SAID)
def test_without_a_limit_there_is_none(web: Instance, key: str) -> None:
    found = said(web, *SAID[key][1])
    assert found and found.items() <= UNLIMITED.items()


@pytest.mark.parametrize("key", SAID)
def test_a_limit_can_be_set_while_it_runs(web: Instance, key: str) -> None:
    value, expected = SAID[key]
    assert web.set(f"{key}={value}").live == (key,)
    assert said(web, *expected).items() <= expected.items()


@pytest.mark.parametrize("key", SAID)
def test_a_limit_can_be_lifted_while_it_runs(launch: Launch, key: str) -> None:
    value, expected = SAID[key]
    web = launch(f"{key}={value}")
    web.set(f"{key}=")
    assert said(web, *expected).items() <= UNLIMITED.items()


def test_a_limit_that_was_set_while_it_ran_is_there_after_a_restart(web: Instance) -> None:
    web.set("limits.processes=50")
    web.restart(force=True)
    assert said(web, "pids.max") == {"pids.max": "50"}


def test_too_many_processes_are_refused(launch: Launch) -> None:
    assert int(answer(launch("limits.processes=20"), "fork", "50")) < 20


def test_a_process_that_needs_too_much_memory_is_killed(launch: Launch) -> None:
    assert launch("limits.memory=32M").exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)]).code == 137


def test_its_init_outlives_a_process_that_needs_too_much_memory(launch: Launch) -> None:
    web = launch("limits.memory=32M")
    web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)])
    assert web.state == "running"


def test_a_quarter_of_a_cpu_is_no_more_than_that(launch: Launch) -> None:
    assert 50 <= int(answer(launch("limits.cpus=0.25"), "spin", "1000")) <= 400


def test_a_limit_below_what_is_in_use_is_refused_where_the_kernel_cannot_reclaim(web: Instance) -> None:
    if not said(web, "memory.limit_in_bytes"):
        pytest.skip("memory is on cgroup v2, where a lower limit is never refused")
    with holding(web, 32 * MEBIBYTE), pytest.raises(Kernel) as refused:
        web.set("limits.memory=4M")
    assert "cannot be given back" in refused.value.sentence
    assert "choose at least" in refused.value.hint


def test_of_several_limits_none_is_set_where_one_is_refused(web: Instance) -> None:
    if not said(web, "memory.limit_in_bytes"):
        pytest.skip("memory is on cgroup v2, where a lower limit is never refused")
    with holding(web, 32 * MEBIBYTE), pytest.raises(Kernel):
        web.set("limits.cpus=0.5", "limits.memory=4M", "limits.processes=50")
    assert said(web, "cpu.cfs_quota_us", "pids.max") == {"cpu.cfs_quota_us": "-1", "pids.max": "max"}


def test_a_limit_that_was_refused_is_not_remembered(web: Instance) -> None:
    if not said(web, "memory.limit_in_bytes"):
        pytest.skip("memory is on cgroup v2, where a lower limit is never refused")
    with holding(web, 32 * MEBIBYTE), pytest.raises(Kernel):
        web.set("limits.cpus=0.5", "limits.memory=4M")
    assert (web.get("limits.cpus"), web.get("limits.memory")) == ("", "")


def test_of_several_assignments_none_is_made_where_one_is_wrong(web: Instance) -> None:
    with pytest.raises(Invalid):
        web.set("limits.processes=50", "limits.memory=12X")
    assert (web.get("limits.processes"), said(web, "pids.max")) == ("", {"pids.max": "max"})


def test_its_processes_are_counted(quick: Instance) -> None:
    assert quick.info().usage.processes == 1


def test_the_peak_of_its_memory_is_remembered(web: Instance) -> None:
    web.exec([PAYLOAD, "alloc", str(16 * MEBIBYTE)])
    assert (web.info().usage.memory_peak_bytes or 0) >= 16 * MEBIBYTE


def test_its_cpu_time_is_counted(web: Instance) -> None:
    before = web.info().usage.cpu_ns or 0
    answer(web, "spin", "50")
    assert (web.info().usage.cpu_ns or 0) - before >= 30_000_000


def test_its_monitor_is_not_counted(web: Instance) -> None:
    groups = Path(f"/proc/{web.info().monitor_pid}/cgroup").read_text()
    assert web.id not in groups
