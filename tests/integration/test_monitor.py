"""What a monitor does beside waiting: it has a command run for out-of-memory kills, and notes what was used."""

import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cloison import Instance, State
from cloison.plan.plan import Plan
from cloison.plan.start import compile_start
from cloison.plan.steps import Monitor, MonitorOfOld
from tests.integration import traces
from tests.integration.conftest import PAYLOAD, Launch, inside
from tests.integration.test_life import wait_until
from tests.patience import patient

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]

TOO_MUCH = str(64 << 20)
SAID = 'read up idle </proc/uptime; echo "$up" >>"{0}"'
# What the alarm's shell has open, which session it is in, and what it blocks and ignores.
SELF = 'ls -l /proc/$$/fd | grep -o "[^ ]*$" >"{0}.fds"; ' + (
    'exec grep -E "^(NSsid|NSpid|SigBlk|SigIgn)" /proc/self/status >"{0}"'
)

Alarm = Callable[[str], Path]


@pytest.fixture
def alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alarm:
    """Instances that are started from now on have this shell command as their alarm; gives the file that is "{0}"."""
    said = tmp_path / "said"

    def with_alarm(script: str) -> Path:
        command = ("/bin/sh", "-c", script.format(said))
        monkeypatch.setattr(
            "cloison.runtime.starting.compile_start", lambda *a, **k: compile_start(*a, **{**k, "alarm": command})
        )
        return said

    return with_alarm


def exhaust(instance: Instance) -> None:
    """Have a process inside killed for want of memory."""
    assert instance.exec([PAYLOAD, "alloc", TOO_MUCH]).code == 137


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_process_killed_for_want_of_memory_rings_the_alarm(alarm: Alarm, launch: Launch) -> None:
    said = alarm(SAID)
    exhaust(launch("limits.memory=16M"))
    wait_until(lambda: len(lines(said)) == 1)


def test_a_process_that_is_killed_otherwise_does_not(alarm: Alarm, launch: Launch) -> None:
    said = alarm(SAID)
    web = launch("limits.memory=64M")
    assert web.exec(["sh", "-c", "kill -9 $$"]).code == 137
    web.stop(force=True)
    assert lines(said) == []


def test_a_file_larger_than_the_limit_does_not(alarm: Alarm, launch: Launch) -> None:
    """The page cache of the container reaches its limit, and the kernel takes pages back."""
    said = alarm(SAID)
    web = launch("limits.memory=32M")
    inside(web, "dd", "if=/dev/zero", "of=/large", "bs=1M", "count=100")
    exhaust(web)
    wait_until(lambda: lines(said) != [])
    web.stop(force=True)
    assert len(lines(said)) == 1


def test_many_kills_ring_once_a_second(alarm: Alarm, launch: Launch) -> None:
    said = alarm(SAID)
    web = launch("limits.memory=16M")
    for _ in range(8):
        exhaust(web)
    wait_until(lambda: len(lines(said)) >= 2)
    times = [float(line) for line in lines(said)]
    assert all(later - earlier > 0.5 for earlier, later in itertools.pairwise(times))


def test_the_last_of_many_kills_is_heard(alarm: Alarm, launch: Launch) -> None:
    """Those that come while the alarm is deaf ring it afterwards."""
    said = alarm(SAID)
    web = launch("limits.memory=16M")
    exhaust(web)
    wait_until(lambda: len(lines(said)) == 1)
    exhaust(web)
    wait_until(lambda: len(lines(said)) == 2)


def test_what_the_alarm_runs_has_nothing_of_the_monitor(alarm: Alarm, launch: Launch) -> None:
    said = alarm(SELF)
    web = launch("limits.memory=16M")
    exhaust(web)
    wait_until(lambda: len(lines(said)) == 4)
    status = dict(line.split(":\t") for line in lines(said))
    opened = [line for line in lines(said.with_name("said.fds")) if line.startswith("/")]
    assert opened == ["/dev/null"] * 3
    assert status["NSsid"] == status["NSpid"]
    assert (status["SigBlk"], status["SigIgn"]) == ("0" * 16, "0" * 16)


def test_what_the_alarm_runs_is_waited_for_by_nobody(alarm: Alarm, launch: Launch, tmp_path: Path) -> None:
    said = alarm('echo $$ >>"{0}"; exec sleep 1000')
    web = launch("limits.memory=16M")
    monitor = web.observe().monitor_pid
    exhaust(web)
    wait_until(lambda: lines(said) != [] and lines(said)[0] != "")
    sleeper = int(lines(said)[0])
    try:
        assert web.exec(["true"]).code == 0
        os.kill(monitor, signal.SIGKILL)
        wait_until(lambda: web.state is State.STUCK)  # the journal's lock was not handed on
    finally:
        os.kill(sleeper, signal.SIGKILL)


def test_an_alarm_leaves_no_zombie(alarm: Alarm, launch: Launch) -> None:
    said = alarm(SAID)
    web = launch("limits.memory=16M")
    monitor = web.observe().monitor_pid
    exhaust(web)
    wait_until(lambda: lines(said) != [])
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    assert children == [str(web.observe().pid)]


def test_an_alarm_that_cannot_be_run_harms_nobody(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = ("/nowhere",)
    monkeypatch.setattr(
        "cloison.runtime.starting.compile_start", lambda *a, **k: compile_start(*a, **{**k, "alarm": nowhere})
    )
    web = launch("limits.memory=16M")
    exhaust(web)
    exhaust(web)
    assert (web.observe().state, web.exec(["true"]).code) == (State.RUNNING, 0)


# --- the record of what was used -------------------------------------------------------------------------------------


def end(instance: Instance) -> None:
    """Not by `stop`, which books what is on record, and takes it away."""
    instance.kill()
    assert instance.wait(patient(20))


def record(instance: Instance) -> dict[str, str]:
    """The samples of `exit.usage`, by their names."""
    found, rest = {}, Path(instance.directory, "exit.usage").read_bytes()
    while rest:
        head, rest = rest.split(b"\n", 1)
        name, length = head.decode().rsplit(" ", 1)
        found[name], newline, rest = (
            rest[: int(length)].decode(),
            rest[int(length) : int(length) + 1],
            rest[int(length) + 1 :],
        )
        assert newline == b"\n"
    return found


def of_file(samples: dict[str, str], name: str) -> str:
    return next(text for path, text in samples.items() if path.endswith(f"/{name}") and text)


def test_what_was_used_is_on_record_when_it_has_ended(web: Instance) -> None:
    inside(web, PAYLOAD, "spin", "100")
    living = web.info().usage
    end(web)
    samples = record(web)
    cpu = [path for path in samples if path.endswith("/cpuacct.usage")]
    ns = int(samples[cpu[0]]) if cpu else int(of_file(samples, "cpu.stat").split()[1]) * 1000
    assert ns >= (living.cpu_ns or 0) > 0


def test_the_traffic_of_its_own_network_is_on_record(launch: Launch) -> None:
    web = launch()
    inside(web, "ping", "-c", "3", "127.0.0.1")
    counted = inside(web, "cat", "/proc/net/dev")
    end(web)
    assert record(web)["net/dev"] == counted
    assert int(counted.split("lo:")[1].split()[0]) > 0


def test_the_traffic_of_the_hosts_network_is_not(launch: Launch) -> None:
    web = launch("nics.eth0.type=host")
    end(web)
    assert "net/dev" not in record(web)


def test_kills_are_on_record(alarm: Alarm, launch: Launch) -> None:
    alarm(SAID)  # and not the one that books what is on record, too
    web = launch("limits.memory=16M")
    exhaust(web)
    end(web)
    kills = [
        int(line.split()[1])
        for path, text in record(web).items()
        if path.endswith(("/memory.oom_control", "/memory.events"))
        for line in text.splitlines()
        if line.startswith("oom_kill ")
    ]
    assert sum(kills) == 1


def test_every_sample_is_one_that_the_plan_names_in_its_order(web: Instance) -> None:
    last = web.explain().actions[-1].step
    assert isinstance(last, Monitor)
    end(web)
    assert [*record(web)] == [*last.samples, "net/dev"]


def test_a_record_that_cannot_be_written_keeps_nothing_from_being_taken_back(web: Instance, root: Path) -> None:
    Path(web.directory, "exit.usage.new").mkdir()
    end(web)
    assert not Path(web.directory, "exit.usage").exists()
    assert traces.left(root, [web.id]) == []
    Path(web.directory, "exit.usage.new").rmdir()


def test_the_record_is_there_before_the_end_is(web: Instance) -> None:
    end(web)
    ended, used = (Path(web.directory, name).stat().st_mtime_ns for name in ("exit", "exit.usage"))
    assert used <= ended


# --- older versions --------------------------------------------------------------------------------------------------


def test_a_plan_of_an_older_version_still_has_a_monitor(
    launch: Launch, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_old(*args: object, **named: object) -> Plan:
        plan = compile_start(*args, **named)  # type: ignore[arg-type]
        last = plan.actions[-1]
        fields = msgspec.structs.astuple(last.step)[: len(MonitorOfOld.__struct_fields__)]
        older = msgspec.structs.replace(last, step=MonitorOfOld(*fields))
        return msgspec.structs.replace(plan, actions=(*plan.actions[:-1], older))

    monkeypatch.setattr("cloison.runtime.starting.compile_start", of_old)
    web = launch()
    assert inside(web, "echo", "hello") == "hello\n"
    web.stop(force=True)
    assert Path(web.directory, "exit").exists() and not Path(web.directory, "exit.usage").exists()
    assert traces.left(root, [web.id]) == []


def test_a_monitor_stays_small_when_it_has_rung(alarm: Alarm, launch: Launch) -> None:
    """The plan is read by the process in between: the monitor's own memory does not grow by a page of it."""
    said = alarm(SAID)
    web = launch("limits.memory=16M")
    monitor = web.observe().monitor_pid
    before = private_kib(monitor)
    exhaust(web)
    wait_until(lambda: lines(said) != [])
    time.sleep(0.05)
    assert private_kib(monitor) - before <= 32


def private_kib(pid: int) -> int:
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(row[1]) for row in rows if row[0].startswith("Private_"))
