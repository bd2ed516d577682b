"""`cloison set`: what runs, what is stored, and what neither becomes when a part of it is refused."""

import resource
from pathlib import Path

import pytest

from cloison import Engine, Instance
from tests.integration import witness
from tests.integration.conftest import PAYLOAD, Cli, Launch, answer, busy, init_of, inside, refused

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.guest]

MEBIBYTE = 1 << 20
# Of every kind of limit one: files of control groups, of processes, of namespaces.
SETTINGS = {
    "limits.memory": "96M",
    "limits.memory_soft": "64M",
    "limits.cpus": "0.5",
    "limits.cpu_set": "0",
    "limits.cpu_weight": "50",
    "limits.cpu_burst": "10ms",
    "limits.processes": "60",
    "limits.rlimits.core": "0",
    "limits.sysctls.kernel.msgmax": "4096",
    "limits.oom_score": "300",
}


def in_force(instance: Instance) -> dict[str, str]:
    """The values of `SETTINGS` as the running container has them, in the words of `set`."""
    mebibytes = {
        "limits.memory": witness.said(instance, "memory", "memory.limit_in_bytes", "memory.max"),
        "limits.memory_soft": witness.said(instance, "memory", "memory.soft_limit_in_bytes", "memory.low"),
    }
    cpu = witness.group(instance, "cpu")
    weight = round(int(cpu.read("cpu.shares")) * 100 / 1024) if cpu.version == 1 else int(cpu.read("cpu.weight"))
    quota = cpu.read("cpu.cfs_quota_us") if cpu.version == 1 else cpu.read("cpu.max").split()[0]
    burst = witness.said(instance, "cpu", "cpu.cfs_burst_us", "cpu.max.burst")
    return {
        **{key: f"{int(value) >> 20}M" for key, value in mebibytes.items()},
        "limits.cpus": f"{int(quota) / 100_000}",
        "limits.cpu_set": witness.said(instance, "cpuset", "cpuset.cpus", "cpuset.cpus"),
        "limits.cpu_weight": str(weight),
        "limits.cpu_burst": f"{int(burst) // 1000}ms",
        "limits.processes": witness.said(instance, "pids", "pids.max", "pids.max"),
        "limits.rlimits.core": str(resource.prlimit(init_of(instance), resource.RLIMIT_CORE)[1]),
        "limits.sysctls.kernel.msgmax": inside(instance, "cat", "/proc/sys/kernel/msgmax").strip(),
        "limits.oom_score": Path(f"/proc/{init_of(instance)}/oom_score_adj").read_text().strip(),
    }


def stored(instance: Instance) -> dict[str, str]:
    return {key: instance.get(key) for key in SETTINGS}


ALL = [f"{key}={value}" for key, value in SETTINGS.items()]
NONE = dict.fromkeys(SETTINGS, "")


def test_a_change_is_in_force_and_stored(quick: Instance, cli: Cli) -> None:
    assert cli("set", quick.name, *ALL).returncode == 0
    assert (in_force(quick), stored(quick)) == (SETTINGS, SETTINGS)


def test_a_live_change_is_in_force_and_not_stored(quick: Instance, cli: Cli) -> None:
    assert cli("set", "--live", quick.name, *ALL).returncode == 0
    assert (in_force(quick), stored(quick)) == (SETTINGS, NONE)


def test_a_live_change_is_gone_after_a_restart(quick: Instance, cli: Cli) -> None:
    before = witness.said(quick, "pids", "pids.max", "pids.max")
    assert cli("set", "--live", quick.name, "limits.processes=60").returncode == 0
    quick.restart()
    assert witness.said(quick, "pids", "pids.max", "pids.max") == before


def test_a_change_for_the_next_start_is_stored_and_not_in_force(quick: Instance, cli: Cli) -> None:
    before = witness.snapshot(quick)
    assert cli("set", "--next-start", quick.name, *ALL).returncode == 0
    assert (witness.snapshot(quick), stored(quick)) == (before, SETTINGS)
    quick.restart()
    assert in_force(quick) == SETTINGS


def test_a_command_has_what_was_set_live(quick: Instance, cli: Cli) -> None:
    assert cli("set", "--live", quick.name, "limits.rlimits.nofile=128:256").returncode == 0
    assert cli("set", "--next-start", quick.name, "limits.rlimits.nofile=100:200").returncode == 0
    assert answer(quick, "rlimit", str(resource.RLIMIT_NOFILE)) == "128 256"


def test_what_was_set_live_is_known_when_more_is_set(quick: Instance, cli: Cli) -> None:
    """The difference is taken from what is in force, not from what is stored."""
    assert cli("set", "--live", quick.name, "limits.processes=60", "limits.cpus=0.5").returncode == 0
    assert cli("set", quick.name, "limits.processes=70").returncode == 0
    assert witness.said(quick, "pids", "pids.max", "pids.max") == "70"
    assert cli("set", "--live", quick.name, "limits.cpus=").returncode == 0
    assert witness.said(quick, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] in ("-1", "max")


def test_what_waits_for_the_next_start_does_not_come_with_another_change(quick: Instance, cli: Cli) -> None:
    assert cli("set", "--next-start", quick.name, "limits.processes=60").returncode == 0
    assert cli("set", quick.name, "limits.cpus=0.5").returncode == 0
    assert witness.said(quick, "pids", "pids.max", "pids.max") == "max"


def test_a_live_change_of_what_is_stopped_is_refused(stopped: Instance, cli: Cli) -> None:
    refused(cli("set", "--live", stopped.name, "limits.processes=60"), 4, "stopped", "--next-start")
    assert stopped.get("limits.processes") == ""


def test_a_live_change_of_what_cannot_be_live_is_refused(quick: Instance, cli: Cli) -> None:
    done = cli("set", "--live", quick.name, "limits.processes=60", "security.read_only_root=true")
    refused(done, 2, "security.read_only_root", "--next-start")
    assert witness.said(quick, "pids", "pids.max", "pids.max") == "max"


def test_live_and_next_start_are_not_said_together(quick: Instance, cli: Cli) -> None:
    refused(cli("set", "--live", "--next-start", quick.name, "limits.processes=60"), 2, "--live", "--next-start")


def test_every_key_or_none_is_changed_where_the_kernel_refuses_one(quick: Instance, cli: Cli) -> None:
    """The memory is in use: refused live, and it comes last, when all others have been written."""
    before = witness.snapshot(quick)
    wanted = [f"{key}={value}" for key, value in SETTINGS.items() if "memory" not in key]
    with busy(quick, "hold", str(32 * MEBIBYTE)):
        limits = resource.prlimit(init_of(quick), resource.RLIMIT_CORE)
        for order in ((*wanted, "limits.memory=4M"), ("limits.memory=4M", *wanted)):
            refused(cli("set", quick.name, *order), 6, "memory")
            assert witness.snapshot(quick) == before
            assert stored(quick) == NONE
            assert resource.prlimit(init_of(quick), resource.RLIMIT_CORE) == limits
            assert inside(quick, "cat", "/proc/sys/kernel/msgmax").strip() != SETTINGS["limits.sysctls.kernel.msgmax"]
            assert Path(f"/proc/{init_of(quick)}/oom_score_adj").read_text().strip() != SETTINGS["limits.oom_score"]


def test_how_much_is_in_use_is_said_where_the_memory_cannot_be_lowered(quick: Instance, cli: Cli) -> None:
    with busy(quick, "hold", str(32 * MEBIBYTE)):
        done = cli("set", quick.name, "limits.memory=4M")
    refused(done, 6, "4M")
    sizes = [
        float(word.rstrip(",;.)")[:-1])
        for word in done.stderr.split()
        if word.rstrip(",;.)").endswith("M") and word.rstrip(",;.)")[:-1].replace(".", "").isdigit()
    ]
    assert any(32 <= size < 48 for size in sizes), done.stderr


def test_the_memory_can_be_lowered_to_what_is_left_when_the_cache_is_gone(launch: Launch, cli: Cli) -> None:
    """What is only cached is given back."""
    web = launch("limits.memory=64M")
    inside(web, "sh", "-c", "head -c 33554432 /dev/zero >/root/file; cat /root/file >/dev/null")
    done = cli("set", web.name, "limits.memory=16M")
    assert done.returncode == 0, done.stderr
    assert web.state == "running"
    assert answer(web, "cwd") == "/"


def test_what_is_frozen_can_be_limited_too(quick: Instance, cli: Cli) -> None:
    quick.freeze()
    assert cli("set", quick.name, "limits.processes=60", "limits.cpu_set=0").returncode == 0
    assert witness.said(quick, "pids", "pids.max", "pids.max") == "60"
    quick.unfreeze()
    assert answer(quick, "cpus") == "0"


def test_a_new_key_while_it_runs_is_noted_as_an_event(quick: Instance, cli: Cli, engine: Engine) -> None:
    cli("set", quick.name, "limits.processes=60")
    told = [event for event in engine.events(quick.id) if event.what == "configured"]
    assert [event.detail for event in told] == ["limits.processes=60"]


def test_limits_set_at_create_are_those_of_a_launch(cli: Cli, engine: Engine) -> None:
    done = cli(
        *("launch", "busybox", "web", "--network", "empty"),
        *(f"--set={setting}" for setting in (*ALL, f"init.command={PAYLOAD} init")),
    )
    assert done.returncode == 0, done.stderr
    assert in_force(engine.get("web")) == SETTINGS
