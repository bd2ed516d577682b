"""Configuration in, explained plan out, compared with a file. `pytest --bless` rewrites; the diff is read like code."""

from collections.abc import Callable

import pytest

from cloison.base.errors import Unsupported
from cloison.engine.specification import capability_sets, capability_sets_of_a_user, live_limits
from cloison.kernel.abi import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from cloison.plan import device_filter, live
from cloison.plan.builder import Builder
from cloison.plan.execute import compile_exec, compile_freeze, compile_kill
from cloison.plan.inputs import CgroupPlace, DirectoryRoot, ImageRoot
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
    assert explain(worlds.start_plan("nics.eth0.type=host")) == golden("host-network")


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


EVERY_WORLD = {"v1": worlds.ALL_V1, "hybrid": worlds.ALL_HYBRID, "v2": worlds.ALL_V2}


@pytest.mark.parametrize("world", EVERY_WORLD)
def test_every_limit_in_every_world_of_control_groups(golden: Golden, world: str) -> None:
    plan = worlds.start_plan(*worlds.EVERY_LIMIT, places=EVERY_WORLD[world])
    assert explain(plan) == golden(f"limits-{world}")


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


OTHER_LIMITS = (
    "limits.memory=512M",
    "limits.swap=0",
    "limits.cpus=2",
    "limits.cpu_set=2-3",
    "limits.io.8:0.read_bps=20M",
    "limits.devices=deny a, allow c 1:3 rw, allow c 10:229 rw",
    "limits.sysctls.net.ipv4.ip_forward=0",
    "limits.sysctls.kernel.shmmni=100",
)


@pytest.mark.parametrize("world", EVERY_WORLD)
def test_limits_change_while_it_runs_and_are_written_back_when_one_is_refused(golden: Golden, world: str) -> None:
    places = EVERY_WORLD[world]
    before = live_limits(worlds.record(*worlds.EVERY_LIMIT).config)
    after = live_limits(worlds.record(*OTHER_LIMITS).config)
    old, new = settings(places, before.resources), settings(places, after.resources)
    files = {setting.path: setting.line.item + setting.line.value for setting in old}
    groups = {}
    for place in places:
        groups[place.outer] = (place.inner, f"{place.inner}/nested")
        files |= {f"{group}/cpuset.cpus": "0-1,3" for group in (place.outer, place.inner)}
        files |= {f"{place.inner}/nested/cpuset.cpus": "0"}
        files |= {f"{group}/cpuset.mems": "0" for group in (place.inner, f"{place.inner}/nested")}
    build = Builder("set the limits of web", inherited=("the pidfd of its init",))
    live.change(build, live.targets(old, new), files, groups)
    present = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "4096"}
    live.parameters(build, after.sysctl, present, 0)
    place = device_filter.require_place(places)
    live.exchange_devices(build, place, before.resources.devices, after.resources.devices, groups[place.outer])
    assert explain(build.plan()) == golden(f"limits-live-{world}")


def test_every_process_is_limited_and_a_score_that_cannot_be_written_is_a_warning(golden: Golden) -> None:
    wanted = live.ProcessLimits(((7, (1024, 4096)),), 500)
    present = {70: live.ProcessLimits(((7, (512, 512)),), 0), 71: live.ProcessLimits(((7, (1024, 4096)),), 0)}
    build = Builder("set the limits of web")
    live.processes(build, wanted, present)
    assert explain(build.plan()) == golden("limits-live-processes")


def test_limits_are_tried_out_where_nothing_runs(golden: Golden) -> None:
    build = Builder("set these limits")
    live.try_out(build, worlds.ALL_V1, live_limits(worlds.record(*worlds.EVERY_LIMIT).config))
    assert explain(build.plan()) == golden("limits-tried-out")


@pytest.mark.parametrize("world", ["v1", "hybrid", "v2"])
def test_freezing_in_every_world(golden: Golden, world: str) -> None:
    places = {"v1": (worlds.v1(("freezer",)),), "hybrid": worlds.HYBRID, "v2": worlds.V2}[world]
    assert explain(compile_freeze("freeze web", places, is_frozen=True)) == golden(f"freeze-{world}")


@pytest.mark.parametrize("world", ["v1", "hybrid", "v2"])
def test_killing_in_every_world(golden: Golden, world: str) -> None:
    places = {"v1": worlds.V1, "hybrid": (worlds.v1(("freezer",)), *worlds.HYBRID), "v2": worlds.V2}[world]
    assert explain(compile_kill("kill web", places)) == golden(f"kill-{world}")


def test_a_host_that_cannot_freeze_says_so() -> None:
    with pytest.raises(Unsupported, match="no control group that can freeze"):
        compile_freeze("freeze web", (worlds.v1(("memory",)),), is_frozen=True)


def test_a_root_that_is_one_directory(golden: Golden) -> None:
    root = DirectoryRoot("/var/lib/cloison/storage/fast/trees/c0ffee000002")
    assert explain(worlds.start_plan(root=root)) == golden("directory-root")


def test_a_root_on_a_disk_of_its_own(golden: Golden) -> None:
    root = ImageRoot("/var/lib/cloison/storage/disks/trees/c0ffee000002.img", "/usr/bin/mount")
    assert explain(worlds.start_plan(root=root)) == golden("image-root")
