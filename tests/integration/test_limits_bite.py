"""Limits at work: a program inside reaches for more than it is given, and what it gets is measured from outside.

The machine may be busy with other things, so nothing here is compared with a wall clock alone: what was used is
compared with what the kernel handed out meanwhile.
"""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance, Invalid, Unsupported
from tests.integration import traces, witness
from tests.integration.conftest import (
    ALONE,
    PAYLOAD,
    QUICK,
    Cli,
    Disk,
    Launch,
    answer,
    busy,
    eventually,
    init_of,
    inside,
)

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.guest]

MEBIBYTE = 1 << 20
BURN_S = 2.0
PERIOD_NS = 100_000_000  # in which a quota is counted
TRIES = 5  # for what is measured while others use the machine
HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
NULL_AND_TERMINALS = "deny a, allow c 1:3 rwm, allow c 1:5 r, allow c *:* m, allow c 5:* rw, allow c 136:* rw"


# --- memory ----------------------------------------------------------------------------------------------------------


def test_a_process_that_needs_too_much_memory_is_killed(launch: Launch) -> None:
    web = launch("limits.memory=32M")
    assert web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)]).code == 137
    assert witness.oom_kills(web) == 1


def test_its_init_outlives_a_process_that_needs_too_much_memory(launch: Launch) -> None:
    web = launch("limits.memory=32M")
    web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)])
    assert web.state == "running"


def test_a_process_may_have_all_the_memory_up_to_the_limit(launch: Launch) -> None:
    assert answer(launch("limits.memory=64M"), "alloc", str(48 * MEBIBYTE)) == "ok"


def test_memory_and_swap_together_are_bounded(launch: Launch) -> None:
    web = launch("limits.memory=32M", "limits.swap=16M")
    assert web.exec([PAYLOAD, "alloc", str(96 * MEBIBYTE)]).code == 137
    assert witness.oom_kills(web) == 1


# --- processes and files ---------------------------------------------------------------------------------------------


def test_too_many_processes_are_refused_with_eagain(launch: Launch) -> None:
    web = launch("limits.processes=20")
    assert answer(web, "fork-error", "50") == "EAGAIN"
    assert eventually(lambda: are_few(web))
    assert int(answer(web, "fork", "50")) < 20


def are_few(web: Instance) -> bool:
    """The kernel goes on counting a process for a moment after its parent has waited for it."""
    return (web.info().usage.processes or 0) < 10


def test_the_limit_of_processes_is_in_force_at_once(web: Instance) -> None:
    assert answer(web, "fork-error", "50") == "ok"
    assert eventually(lambda: are_few(web))
    web.set("limits.processes=20")
    assert answer(web, "fork-error", "50") == "EAGAIN"


def test_resource_limits_are_those_of_every_process(launch: Launch) -> None:
    web = launch("limits.rlimits.nofile=200:300", "limits.rlimits.core=0")
    assert answer(web, "rlimit", str(resource.RLIMIT_NOFILE)) == "200 300"
    assert answer(web, "rlimit", str(resource.RLIMIT_CORE)) == "0 0"
    assert resource.prlimit(init_of(web), resource.RLIMIT_NOFILE) == (200, 300)


def test_no_more_files_can_be_open_than_its_limit(launch: Launch) -> None:
    web = launch("limits.rlimits.nofile=32")
    opened = 'i=3; while [ $i -lt 100 ]; do eval "exec $i</dev/null" || exit 1; i=$((i+1)); done'
    result = web.exec(["sh", "-c", opened])
    assert result.code != 0
    assert web.exec(["sh", "-c", opened.replace("100", "10")]).code == 0


def test_a_resource_limit_reaches_those_who_run_already(web: Instance) -> None:
    with busy(web, "burn", "1"):
        web.set("limits.rlimits.nofile=128:256")
        found = {resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in witness.pids(web)}
        assert found == {(128, 256)}
        assert len(witness.pids(web)) >= 2
    assert answer(web, "rlimit", str(resource.RLIMIT_NOFILE)) == "128 256"


# --- cpus ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def favoured(instance: Instance) -> Iterator[None]:
    """The group of all instances goes before whatever else the machine does meanwhile."""
    cpu = witness.group(instance, "cpu")
    name, most, usual = ("cpu.shares", "262144", "1024") if cpu.version == 1 else ("cpu.weight", "10000", "100")
    (cpu.path.parent / name).write_text(most)
    try:
        yield
    finally:
        (cpu.path.parent / name).write_text(usual)


def test_half_a_cpu_is_half_of_one(launch: Launch) -> None:
    web = launch("limits.cpus=0.5")
    with favoured(web), busy(web, "burn", "3"):
        has_share(web, 0.5)


def test_a_change_of_the_quota_is_felt_at_once(launch: Launch) -> None:
    web = launch("limits.cpus=0.5")
    with favoured(web), busy(web, "burn", "3"):
        web.set("limits.cpus=0.2")
        has_share(web, 0.2)


def has_share(instance: Instance, share: float) -> None:
    """It gets that part of a CPU, within a tenth: never more than of all the time, never less than of the periods in
    which it had more to do, which the kernel counts as throttled. On an idle machine these are all periods."""
    for _ in range(TRIES):
        clock, used, counts = time.monotonic_ns(), witness.cpu_ns(instance), witness.periods(instance)
        time.sleep(BURN_S)
        took, used = time.monotonic_ns() - clock, witness.cpu_ns(instance) - used
        counted, throttled = (after - before for before, after in zip(counts, witness.periods(instance), strict=True))
        if throttled >= 0.9 * counted:  # else others had the machine
            break
    assert throttled >= 0.3 * counted > 0, "this machine is too busy to measure on"
    assert 0.9 * share * throttled * PERIOD_NS <= used <= 1.1 * share * took


def test_only_the_cpus_of_its_set_are_seen_and_used(launch: Launch) -> None:
    last = max(os.sched_getaffinity(0))
    web = launch(f"limits.cpu_set={last}")
    assert answer(web, "cpus") == str(last)
    assert inside(web, "nproc").strip() == "1"
    assert os.sched_getaffinity(init_of(web)) == {last}


@pytest.mark.skipif(os.cpu_count() == 1, reason="this machine has one CPU")
def test_a_change_of_the_cpu_set_moves_those_who_run_already(web: Instance) -> None:
    with busy(web, "burn", "2"):
        web.set("limits.cpu_set=1")
        assert {frozenset(os.sched_getaffinity(pid)) for pid in witness.pids(web)} == {frozenset({1})}
        web.set("limits.cpu_set=0-1")
        assert {frozenset(os.sched_getaffinity(pid)) for pid in witness.pids(web)} == {frozenset({0, 1})}


def test_three_times_the_weight_is_three_times_the_time(launch: Launch) -> None:
    """Of one CPU that both want. Others may want it too: they take from both alike."""
    heavy = launch("limits.cpu_weight=300", "limits.cpu_set=0", name="heavy")
    light = launch("limits.cpu_weight=100", "limits.cpu_set=0", name="light")
    with favoured(heavy), busy(heavy, "burn", "2"), busy(light, "burn", "2"):
        for _ in range(TRIES):
            before = witness.cpu_ns(heavy), witness.cpu_ns(light)
            time.sleep(BURN_S)
            ratio = (witness.cpu_ns(heavy) - before[0]) / (witness.cpu_ns(light) - before[1])
            if ratio == pytest.approx(3, rel=0.1):
                break
    assert ratio == pytest.approx(3, rel=0.15)


def test_what_was_saved_up_may_be_spent_in_a_burst(launch: Launch) -> None:
    web = launch("limits.cpus=0.1", "limits.cpu_burst=10ms")

    def has_burst() -> bool:
        answer(web, "spin", "18")  # more than the 10 ms of a period, less than with what was saved
        return witness.group(web, "cpu").numbers("cpu.stat")["nr_bursts"] > 0

    with favoured(web):
        assert eventually(has_burst)


# --- huge pages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def huge_pages() -> Iterator[int]:
    """The host has some huge pages to give meanwhile."""
    count = HUGE_PAGES / "nr_hugepages"
    before = int(count.read_text())
    count.write_text(str(before + 8))
    try:
        if int(count.read_text()) < before + 8:
            pytest.skip("this host's memory is too scattered for 8 huge pages")
        yield 8
    finally:
        count.write_text(str(before))


@pytest.mark.needs_hugepages
def test_no_more_huge_pages_than_its_limit(launch: Launch, huge_pages: int) -> None:
    web = launch("limits.hugepages.2M=6M")
    assert answer(web, "huge", str(huge_pages)) == "3"
    web.set("limits.hugepages.2M=10M")
    assert answer(web, "huge", str(huge_pages)) == "5"
    web.set("limits.hugepages.2M=")
    assert answer(web, "huge", str(huge_pages)) == str(huge_pages)


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(launch: Launch, disk: Disk) -> Launch:
    """A privileged container that sees the disk as /dev/disk; called with its rates of it."""

    def launched(*rates: str) -> Instance:
        settings = [f"limits.io.{disk.device}.{rate}" for rate in rates]
        allowed = f"limits.devices=allow b {disk.number} rwm"
        web = launch(*QUICK, "security.privileged=true", allowed, *settings, name="reader")
        assert answer(web, "node", "/dev/disk", "b", *disk.number.split(":")) == "ok"
        return web

    return launched


def transferred(instance: Instance, mode: str, block: int) -> tuple[float, float]:
    """Bytes and operations per second of a second and a half, and a bit, until the last one is done."""
    size, took_ms = map(int, answer(instance, "transfer", "/dev/disk", mode, str(block), "1500").split())
    return size * 1000 / took_ms, size / block * 1000 / took_ms


@pytest.mark.needs_loop
def test_no_more_bytes_are_read_than_its_rate(reader: Launch) -> None:
    bytes_per_s, _ = transferred(reader("read_bps=4M"), "r", 65536)
    assert bytes_per_s == pytest.approx(4 * MEBIBYTE, rel=0.2)


@pytest.mark.needs_loop
def test_no_more_bytes_are_written_than_its_rate(reader: Launch) -> None:
    bytes_per_s, _ = transferred(reader("write_bps=2M"), "w", 65536)
    assert bytes_per_s == pytest.approx(2 * MEBIBYTE, rel=0.2)


@pytest.mark.needs_loop
def test_no_more_reads_are_done_than_its_rate(reader: Launch) -> None:
    _, per_s = transferred(reader("read_iops=100"), "r", 4096)
    assert per_s == pytest.approx(100, rel=0.2)


@pytest.mark.needs_loop
def test_no_more_writes_are_done_than_its_rate(reader: Launch) -> None:
    _, per_s = transferred(reader("write_iops=100"), "w", 4096)
    assert per_s == pytest.approx(100, rel=0.2)


@pytest.mark.needs_loop
def test_the_other_direction_is_not_bounded(reader: Launch) -> None:
    bytes_per_s, _ = transferred(reader("write_bps=2M"), "r", 65536)
    assert bytes_per_s > 8 * MEBIBYTE


@pytest.mark.needs_loop
def test_a_rate_is_felt_and_lifted_while_it_runs(reader: Launch, disk: Disk) -> None:
    web = reader()
    web.set(f"limits.io.{disk.mountpoint}.read_bps=4M")
    assert transferred(web, "r", 65536)[0] == pytest.approx(4 * MEBIBYTE, rel=0.2)
    web.set(f"limits.io.{disk.mountpoint}.read_bps=")
    assert transferred(web, "r", 65536)[0] > 8 * MEBIBYTE


# --- devices ---------------------------------------------------------------------------------------------------------


def opened(instance: Instance, major: int, minor: int, mode: str = "r", kind: str = "c") -> str:
    """What the kernel says to a node of that device: "ok", or the first refusal of mknod and open."""
    path = f"/dev/{kind}{major}-{minor}"
    made = answer(instance, "node", path, kind, str(major), str(minor))
    return answer(instance, "open", path, mode) if made in ("ok", "EEXIST") else made


def test_a_device_that_is_denied_cannot_be_opened(launch: Launch) -> None:
    web = launch("security.privileged=true", f"limits.devices={NULL_AND_TERMINALS}")
    assert opened(web, 1, 3) == opened(web, 1, 3, "w") == "ok"
    assert opened(web, 1, 5) == "ok"
    assert opened(web, 1, 5, "w") == "EPERM"
    assert opened(web, 1, 9) == "EPERM"


def test_a_device_that_may_not_be_made_cannot_be_made(launch: Launch) -> None:
    web = launch("security.privileged=true", "limits.devices=deny a, allow c 1:3 rwm, allow c 5:2 rw, allow c 136:* rw")
    assert answer(web, "node", "/dev/a", "c", "1", "9") == "EPERM"
    assert answer(web, "node", "/dev/b", "b", "7", "0") == "EPERM"
    assert answer(web, "node", "/dev/c", "c", "1", "3") == "ok"


def test_a_list_without_terminals_is_refused_with_what_to_add(engine: Engine) -> None:
    with pytest.raises(Invalid, match=r"limits\.devices=deny a") as caught:
        engine.create("busybox", "web", config=["security.privileged=true", "limits.devices=deny a, allow c 1:3 rwm"])
    assert '"allow c 5:2 rw" and "allow c 136:* rw"' in str(caught.value)


def test_an_exception_from_what_is_allowed_is_made_or_refused_by_name(stopped: Instance, engine: Engine) -> None:
    """Of what a wildcard allows, v1 cannot deny a part: that is said, and never just left out."""
    settings = (*ALONE, "security.privileged=true", "limits.devices=allow c 1:* rwm, deny c 1:9 rwm")
    stopped.start()
    is_v1 = any(one.version == 1 for one in witness.groups(stopped) if (one.path / "devices.list").exists())
    if is_v1:
        with pytest.raises(Unsupported, match="cgroup v1 cannot deny c 1:9"):
            engine.create("busybox", "web", config=settings)
        return
    web = engine.launch("busybox", "web", config=settings)
    assert opened(web, 1, 9) == "EPERM"
    assert opened(web, 1, 8) == "ok"


def test_a_privileged_container_cannot_open_the_hosts_memory_and_disks(launch: Launch) -> None:
    """Without any key: what LXC and Docker keep from privileged containers as well."""
    web = launch("security.privileged=true")
    assert opened(web, 1, 1) == "EPERM"  # /dev/mem
    assert opened(web, 10, 237) == "EPERM"  # /dev/loop-control
    assert opened(web, 7, 0, kind="b") == "EPERM"
    assert opened(web, 1, 3) == opened(web, 1, 9) == "ok"


def test_a_device_can_be_allowed_and_denied_while_it_runs(launch: Launch) -> None:
    web = launch("security.privileged=true")
    assert opened(web, 10, 237) == "EPERM"
    web.set("limits.devices=allow c 10:237 rw")
    assert opened(web, 10, 237) == "ok"
    web.set("limits.devices=allow c 10:237 r")
    assert opened(web, 10, 237, "w") == "EPERM"
    web.set("limits.devices=")
    assert opened(web, 10, 237) == "EPERM"


def test_a_device_is_allowed_by_its_path(launch: Launch) -> None:
    web = launch("security.privileged=true", "limits.devices=allow /dev/loop-control rw")
    assert opened(web, 10, 237, "w") == "ok"


# --- what else is given or withheld ----------------------------------------------------------------------------------


def test_a_sysctl_is_its_own_and_the_hosts_stays(launch: Launch) -> None:
    host = Path("/proc/sys/kernel/msgmax")
    before = host.read_text()
    web = launch("limits.sysctls.kernel.msgmax=4096", "limits.sysctls.net.ipv4.ip_forward=1")
    assert inside(web, "cat", "/proc/sys/kernel/msgmax").strip() == "4096"
    assert inside(web, "cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert host.read_text() == before


def test_a_sysctl_can_be_set_while_it_runs(web: Instance) -> None:
    host = Path("/proc/sys/kernel/msgmax")
    before = host.read_text()
    unset = inside(web, "cat", "/proc/sys/kernel/msgmax")
    web.set("limits.sysctls.kernel.msgmax=4096", "limits.sysctls.net.ipv4.ip_default_ttl=99")
    assert inside(web, "cat", "/proc/sys/kernel/msgmax").strip() == "4096"
    assert inside(web, "cat", "/proc/sys/net/ipv4/ip_default_ttl").strip() == "99"
    assert host.read_text() == before
    web.set("limits.sysctls.kernel.msgmax=")
    assert inside(web, "cat", "/proc/sys/kernel/msgmax") == unset


def scores(instance: Instance) -> set[int]:
    return {int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in witness.pids(instance)}


def test_the_oom_score_is_that_of_every_process(launch: Launch) -> None:
    web = launch("limits.oom_score=500")
    with busy(web, "burn", "1"):
        assert scores(web) == {500}
        web.set("limits.oom_score=700")
        assert scores(web) == {700}


def test_its_monitor_keeps_its_own_oom_score(launch: Launch) -> None:
    web = launch("limits.oom_score=500")
    own = Path("/proc/self/oom_score_adj").read_text()
    assert Path(f"/proc/{web.info().monitor_pid}/oom_score_adj").read_text() == own


# --- control ---------------------------------------------------------------------------------------------------------


def test_all_of_it_can_be_killed_at_once(quick: Instance, cli: Cli) -> None:
    with busy(quick, "burn", "3"):
        victims = witness.pids(quick)
        assert len(victims) >= 4
        assert cli("kill", "--all", quick.name).returncode == 0
        assert quick.wait(20)
        assert [pid for pid in victims if _lives(pid)] == []
    assert traces.cgroups([quick.id]) == []


def test_all_of_what_is_frozen_can_be_killed_at_once(quick: Instance, cli: Cli) -> None:
    with busy(quick, "burn", "2"):
        quick.freeze()
        assert cli("kill", "--all", quick.name).returncode == 0
        assert quick.wait(20)
    assert traces.cgroups([quick.id]) == []


def test_a_signal_can_be_sent_to_all_of_it(quick: Instance, cli: Cli) -> None:
    with busy(quick, "burn", "2"):
        burning = [pid for pid in witness.pids(quick) if pid != init_of(quick)]
        assert cli("kill", "--all", "-s", "SIGSTOP", quick.name).returncode == 0
        assert eventually(lambda: {traces.status(pid)["State"][0] for pid in burning} == {"T"})
        assert cli("kill", "--all", "-s", "SIGCONT", quick.name).returncode == 0


def _lives(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return traces.status(pid)["State"][0] not in "ZX"
    return False
