"""Configuration in, explained plan out, compared with a file. `pytest --bless` rewrites; the diff is read like code."""

from collections.abc import Callable

import pytest

from cloison.base.errors import Unsupported
from cloison.engine.specification import capability_sets, capability_sets_of_a_user, resources
from cloison.kernel.abi import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from cloison.plan import live
from cloison.plan.builder import Builder
from cloison.plan.execute import compile_exec, compile_freeze
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limits import settings
from cloison.plan.text import explain
from cloison.spec.oci import Process, Rlimit, User
from tests.unit.plan import worlds

Golden = Callable[[str], object]
NAMESPACES = CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER


def test_a_debian_system_container(golden: Golden) -> None:
    assert explain(worlds.start_plan()) == golden("debian")


def test_a_busybox_container_with_three_limits(golden: Golden) -> None:
    settings = ("limits.memory=64M", "limits.cpus=1.5", "limits.processes=100")
    assert explain(worlds.start_plan(*settings, image="busybox")) == golden("busybox")


def test_a_privileged_container(golden: Golden) -> None:
    assert explain(worlds.start_plan("security.privileged=true")) == golden("privileged")


def test_a_read_only_root(golden: Golden) -> None:
    assert explain(worlds.start_plan("security.read_only_root=true")) == golden("read-only-root")


def test_the_network_of_the_host(golden: Golden) -> None:
    assert explain(worlds.start_plan("nics.all.type=host")) == golden("host-network")


def test_a_clock_of_its_own(golden: Golden) -> None:
    assert explain(worlds.start_plan("boot.own_clock=true")) == golden("own-clock")


def test_a_command_of_a_user_that_gains_no_privileges(golden: Golden) -> None:
    settings = (
        "init.command=/srv/app --port 80",
        "init.uid=33",
        "init.gid=33",
        "init.cwd=/srv",
        "security.no_new_privs=on",
    )
    assert explain(worlds.start_plan(*settings)) == golden("app-user")


@pytest.mark.parametrize("world", ["v1", "hybrid", "v2"])
def test_limits_in_every_world_of_control_groups(golden: Golden, world: str) -> None:
    places = {"v1": worlds.V1, "hybrid": worlds.HYBRID, "v2": worlds.V2}[world]
    settings = ("limits.memory=256M", "limits.cpus=0.5", "limits.processes=64")
    assert explain(worlds.start_plan(*settings, places=places)) == golden(f"limits-{world}")


@pytest.mark.parametrize(("world", "places"), [("hybrid", worlds.HYBRID), ("v2", worlds.V2)])
def test_exec(golden: Golden, world: str, places: tuple[CgroupPlace, ...]) -> None:
    command = Process(("ps", "ax"), ("PATH=/usr/bin:/bin", "HOME=/root"), capabilities=capability_sets())
    plan = compile_exec(
        "exec in web", command, namespaces=NAMESPACES, is_privileged=False, places=places, host=worlds.ALL
    )
    assert explain(plan) == golden(f"exec-{world}")


def test_a_command_has_the_limits_of_every_process(golden: Golden) -> None:
    command = Process(("ps",), rlimits=(Rlimit("RLIMIT_NOFILE", 200, 300),), oom_score_adj=500)
    plan = compile_exec(
        "exec in web", command, namespaces=NAMESPACES, is_privileged=False, places=worlds.HYBRID, host=worlds.ALL
    )
    assert explain(plan) == golden("exec-limits")


def test_exec_of_a_user_on_a_terminal_in_a_privileged_container(golden: Golden) -> None:
    command = Process(
        ("/bin/sh",),
        ("HOME=/srv",),
        cwd="/srv",
        terminal=True,
        user=User(1000, 1000, additional_gids=(27,)),
        capabilities=capability_sets_of_a_user(),
    )
    plan = compile_exec(
        "exec in web",
        command,
        namespaces=NAMESPACES & ~CLONE_NEWUSER,
        is_privileged=True,
        places=worlds.HYBRID,
        host=worlds.ALL,
        seccomp=worlds.SECCOMP,
        winsize=(50, 132),
        argv0="-sh",
    )
    assert explain(plan) == golden("exec-terminal")


def test_live_limits_are_written_back_when_one_is_refused(golden: Golden) -> None:
    before = settings(worlds.HYBRID, resources(worlds.record("limits.memory=256M", "limits.cpus=2").config))
    after = settings(worlds.HYBRID, resources(worlds.record("limits.memory=128M", "limits.processes=32").config))
    build = Builder("set the limits of web")
    files = {"/sys/fs/cgroup/memory/cloison/c0ffee000001/memory.limit_in_bytes": "268435456"}
    live.change(build, live.targets(before, after), files, {})
    assert explain(build.plan()) == golden("limits-live")


@pytest.mark.parametrize("world", ["v1", "hybrid", "v2"])
def test_freezing_in_every_world(golden: Golden, world: str) -> None:
    places = {"v1": (worlds.v1(("freezer",)),), "hybrid": worlds.HYBRID, "v2": worlds.V2}[world]
    assert explain(compile_freeze("freeze web", places, is_frozen=True)) == golden(f"freeze-{world}")


def test_a_host_that_cannot_freeze_says_so() -> None:
    with pytest.raises(Unsupported, match="no control group that can freeze"):
        compile_freeze("freeze web", (worlds.v1(("memory",)),), is_frozen=True)
