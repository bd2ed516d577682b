"""What is consumed is told, and is never lost: not by a stop, a restart, a delete, or the death of a monitor.

The kernel's own counters, read by another way, are the witness.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloison import Engine, Instance, State
from tests.integration import witness
from tests.integration.conftest import PAYLOAD, PROGRAM, QUICK, Cli, Disk, Launch, answer, busy, eventually, own_files

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.guest]

MEBIBYTE = 1 << 20
BURNT_NS = 200_000_000
SLACK = 1.5  # between the witness's look and the end it is still at work


def burn(instance: Instance, at_least_ns: int = BURNT_NS) -> int:
    """Let it use some CPU time; gives what it has used in this run, or a bit less."""
    before = witness.cpu_ns(instance)
    with busy(instance, "burn", "1"):
        assert eventually(lambda: witness.cpu_ns(instance) - before > at_least_ns)
    return witness.cpu_ns(instance)


def billed(cli: Cli, name: str = "", by: str = "instance") -> dict[str, Any]:
    """The line of the ledger for an instance, by name, or for a project."""
    done = cli("ledger", "report", "--from", "-1h", "--by", by, "--json")
    assert done.returncode == 0, done.stderr
    lines = [line for line in json.loads(done.stdout)["lines"] if name in (line["name"], line["project"])]
    assert len(lines) <= 1, lines
    return lines[0] if lines else {}


def cpu_ns_billed(cli: Cli, name: str = "quick") -> int:
    return round(float(billed(cli, name).get("cpu_seconds", 0)) * 1e9)


# --- stats -----------------------------------------------------------------------------------------------------------


def test_stats_say_what_the_kernel_says(quick: Instance, cli: Cli) -> None:
    used = burn(quick)
    done = cli("stats", quick.name, "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert used <= told["usage"]["cpu_ns"] <= used * SLACK
    assert told["usage"]["processes"] == 1
    assert told["usage"]["oom_kills"] == 0
    memory = int(witness.said(quick, "memory", "memory.usage_in_bytes", "memory.current"))
    assert told["usage"]["memory_bytes"] == pytest.approx(memory, rel=0.5)


def test_time_that_was_withheld_is_counted(launch: Launch) -> None:
    web = launch("limits.cpus=0.1")
    with busy(web, "burn", "1"):
        assert eventually(lambda: witness.periods(web)[1] > 3)
    assert (web.info().usage.cpu_throttled_ns or 0) > 10_000_000


@pytest.mark.needs_loop
def test_what_is_read_and_written_is_counted(launch: Launch, disk: Disk) -> None:
    """To the byte, on a disk that nobody else reads."""
    allowed = f"limits.devices=allow b {disk.number} rwm"
    web = launch(*QUICK, "security.privileged=true", allowed, name="reader")
    answer(web, "node", "/dev/disk", "b", *disk.number.split(":"))
    before = web.info().usage
    read = int(answer(web, "transfer", "/dev/disk", "r", "65536", "50").split()[0])
    written = int(answer(web, "transfer", "/dev/disk", "w", "65536", "50").split()[0])
    after = web.info().usage
    assert (after.read_bytes or 0) - (before.read_bytes or 0) == pytest.approx(read, abs=MEBIBYTE)
    assert (after.written_bytes or 0) - (before.written_bytes or 0) == pytest.approx(written, abs=MEBIBYTE)


# --- the ledger ------------------------------------------------------------------------------------------------------


def test_a_stop_is_billed_though_nobody_asked_before(quick: Instance, cli: Cli) -> None:
    used = burn(quick)
    quick.stop()
    assert used <= cpu_ns_billed(cli) <= used * SLACK


def test_a_run_is_billed_once_however_often_it_is_asked_for(quick: Instance, cli: Cli) -> None:
    used = burn(quick)
    for _ in range(2):
        cli("stats")
        cli("ledger", "sample")
        cli("info", quick.name)
    quick.stop()
    for _ in range(2):
        cli("ledger", "sample")
        cli("stats")
    assert used <= cpu_ns_billed(cli) <= used * SLACK


def test_every_run_is_added_up(quick: Instance, cli: Cli) -> None:
    """The counters of the kernel begin at zero with each; what is billed never falls."""
    used, seen = 0, 0
    ends: list[Callable[[], None]] = [quick.restart, lambda: quick.restart(force=True), lambda: quick.stop(force=True)]
    for end in ends:
        used += burn(quick)
        if not seen:
            cli("stats")
        end()
        now = cpu_ns_billed(cli)
        assert now >= max(used, seen)
        seen = now
    assert seen <= used * SLACK


def test_what_was_deleted_is_billed_under_its_name_and_project(launch: Launch, cli: Cli) -> None:
    gone = launch(*QUICK, "accounting.project=shop", name="gone")
    used = burn(gone)
    gone.delete(force=True)
    line = billed(cli, "gone")
    assert line["project"] == "shop"
    assert used <= float(line["cpu_seconds"]) * 1e9 <= used * SLACK
    assert billed(cli, "shop", by="project")["cpu_seconds"] == line["cpu_seconds"]


def test_what_a_dead_monitor_left_is_billed_by_who_repairs_it(
    quick: Instance, launch: Launch, engine: Engine, cli: Cli
) -> None:
    """Another one runs: with its last monitor systemd would end the scope, and remove groups and counters."""
    launch(*QUICK, name="other")
    used = burn(quick)
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    assert eventually(lambda: quick.state is State.STUCK)
    engine.repair()
    assert used <= cpu_ns_billed(cli) <= used * SLACK


def test_an_end_from_inside_is_billed(launch: Launch, cli: Cli) -> None:
    short = launch(f"init.command={PAYLOAD} spin 300", name="short")
    assert short.wait(20)
    assert cpu_ns_billed(cli, "short") > 10_000_000


def test_a_reboot_from_inside_is_billed(launch: Launch, cli: Cli) -> None:
    web = launch(*QUICK)
    used, before = burn(web), web.observe().pid
    web.exec([PAYLOAD, "reboot", "restart"])
    assert eventually(lambda: web.observe().pid not in (0, before))
    assert eventually(lambda: cpu_ns_billed(cli, "web") >= used)


def test_memory_is_billed_by_how_long_it_is_held(quick: Instance, cli: Cli) -> None:
    with busy(quick, "hold", str(64 * MEBIBYTE)):
        cli("stats")
        begin = billed(cli, "quick")["memory_byte_hours"]
        assert eventually(lambda: cli("stats").returncode == 0 and _held(cli) - begin > 64 * MEBIBYTE / 3600)


def _held(cli: Cli) -> int:
    return int(billed(cli, "quick")["memory_byte_hours"])


def test_disk_space_is_billed_of_what_is_stopped_too(stopped: Instance, cli: Cli) -> None:
    Path(own_files(stopped), "file").write_bytes(b"x" * (8 * MEBIBYTE))
    assert cli("ledger", "sample").returncode == 0
    assert eventually(lambda: cli("ledger", "sample").returncode == 0 and billed(cli, "quick")["disk_byte_hours"] > 0)


def test_a_bill_is_what_was_used_times_the_price(quick: Instance, cli: Cli, tmp_path: Path) -> None:
    tariff = tmp_path / "tariff.toml"
    tariff.write_text('currency = "EUR"\n[prices]\ncpu_hour = 3600\n')
    burn(quick)
    quick.stop()
    done = cli("ledger", "report", "--from", "-1h", "--tariff", str(tariff), "--json")
    report = json.loads(done.stdout)
    (line,) = report["lines"]
    assert report["currency"] == "EUR"
    assert float(line["amount"]) == pytest.approx(float(line["cpu_seconds"]), abs=0.01)
    assert float(report["total"]["amount"]) == float(line["amount"])


def test_samples_at_the_same_time_count_nothing_twice(quick: Instance, cli: Cli, root: Path) -> None:
    used = burn(quick)
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    running = [subprocess.Popen([PROGRAM, "ledger", "sample"], env=environment) for _ in range(6)]
    quick.stop()
    assert [one.wait(60) for one in running] == [0] * 6
    assert used <= cpu_ns_billed(cli) <= used * SLACK


# --- out of memory ---------------------------------------------------------------------------------------------------


def kills_told(engine: Engine, instance: Instance) -> list[str]:
    return [event.detail for event in engine.events(instance.id) if event.what == "oom-killed"]


def test_an_out_of_memory_kill_is_told_as_an_event(launch: Launch, engine: Engine) -> None:
    """Nobody asks: the monitor notices by itself."""
    web = launch("limits.memory=32M")
    web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)])
    assert eventually(lambda: kills_told(engine, web))


def test_out_of_memory_kills_are_counted_and_shown(launch: Launch, cli: Cli) -> None:
    web = launch("limits.memory=32M")
    for _ in range(2):
        web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)])
    assert web.info().usage.oom_kills == witness.oom_kills(web) == 2
    shown = [line.split() for line in cli("info", web.name).stdout.lower().splitlines()]
    assert [words[-1] for words in shown if words[:2] == ["oom", "kills"]] == ["2"]


def test_an_init_that_runs_out_of_memory_ends_and_that_is_told(launch: Launch, engine: Engine) -> None:
    web = launch(f"init.command={PAYLOAD} alloc {64 * MEBIBYTE}", "limits.memory=32M", name="greedy")
    assert web.wait(20)
    ended = web.info().exit
    assert ended is not None and ended.code == 137
    assert eventually(lambda: kills_told(engine, web))


def test_a_monitor_waits_for_its_command_before_it_rings_again(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the command takes longer than the second after which the monitor hears again."""
    log = tmp_path / "log"
    slow = f"echo begun >> {log}; sleep 2.5; echo ended >> {log}"
    monkeypatch.setattr(Engine, "command_line", lambda _self, *_words: ("/bin/sh", "-c", slow))
    web = launch("limits.memory=32M")

    def said() -> list[str]:
        return log.read_text().split() if log.exists() else []

    def is_rung_again() -> bool:
        web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)])
        return said().count("begun") > 1

    assert eventually(is_rung_again)
    web.stop(force=True)
    assert eventually(lambda: said().count("ended") == said().count("begun"))
    assert said() == ["begun", "ended"] * (len(said()) // 2)


def test_kills_are_told_once_each_though_many_ask(launch: Launch, engine: Engine, cli: Cli) -> None:
    web = launch("limits.memory=32M")
    for _ in range(3):
        web.exec([PAYLOAD, "alloc", str(64 * MEBIBYTE)])
        cli("stats")
        cli("ledger", "sample")
    assert eventually(lambda: kills_told(engine, web))
    web.stop(force=True)
    cli("stats")
    told = kills_told(engine, web)
    assert sum(int(detail.split()[0]) for detail in told) == 3, told


def test_a_kill_inside_a_group_of_the_guests_own_is_told(launch: Launch, engine: Engine) -> None:
    """The counters of v1 know of no hierarchy: the one to be told sits below."""
    web = launch("limits.memory=32M", "security.privileged=true")
    outer = witness.group(web, "memory")
    if outer.version == 2:
        pytest.skip("the counters of cgroup v2 include the groups below")
    own = outer.path / "guest" / "own"
    own.mkdir()
    try:
        with busy(web, "alloc-loop"):
            for pid in witness.pids(web):
                if "alloc-loop" in Path(f"/proc/{pid}/cmdline").read_text():
                    (own / "cgroup.procs").write_text(str(pid))
            assert eventually(lambda: witness.Group(own, 1).numbers("memory.oom_control")["oom_kill"] > 0)
            assert eventually(lambda: kills_told(engine, web))
            assert (web.info().usage.oom_kills or 0) > 0
    finally:
        web.stop(force=True)
