"""What a container is: its namespaces, its ids, its name. The witnesses are /proc, stat(1) and nsenter(1)."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from cloison import Instance
from tests.integration import traces
from tests.integration.conftest import PAYLOAD, Launch, answer, entered, init_of, inside, own_files

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


@pytest.mark.parametrize("kind", traces.NAMESPACES)
def test_every_namespace_is_its_own(web: Instance, kind: str) -> None:
    assert traces.namespace(init_of(web), kind) != traces.namespace("self", kind)


@pytest.mark.parametrize("kind", traces.NAMESPACES)
def test_two_containers_share_no_namespace(web: Instance, launch: Launch, kind: str) -> None:
    assert traces.namespace(init_of(web), kind) != traces.namespace(init_of(launch(name="db")), kind)


def test_it_has_the_hosts_clock_unless_it_is_given_its_own(web: Instance) -> None:
    assert traces.namespace(init_of(web), "time") == traces.namespace("self", "time")


def test_its_root_is_nobody_on_the_host(web: Instance) -> None:
    owner = web.info().idmap[0].host
    assert traces.status(init_of(web))["Uid"].split() == [str(owner)] * 4


@pytest.mark.parametrize("file", ["uid_map", "gid_map"])
def test_it_has_65536_ids_of_its_own(web: Instance, file: str) -> None:
    lines = Path(f"/proc/{init_of(web)}/{file}").read_text().splitlines()
    assert [line.split() for line in lines] == [["0", str(web.info().idmap[0].host), "65536"]]


def test_it_is_in_no_group_of_the_host(web: Instance) -> None:
    assert traces.status(init_of(web))["Groups"] == ""


def test_two_containers_share_no_id(web: Instance, launch: Launch) -> None:
    first, second = (instance.info().idmap[0] for instance in (web, launch(name="db")))
    assert abs(first.host - second.host) >= first.count


def test_what_its_root_writes_belongs_to_root_on_disk(web: Instance) -> None:
    inside(web, "touch", "/root/mine")
    said = subprocess.run(
        ["stat", "-c", "%u:%g", f"{own_files(web)}/root/mine"], check=True, capture_output=True, text=True
    )
    assert said.stdout == "0:0\n"


def test_what_its_users_write_belongs_to_the_same_ids_on_disk(web: Instance) -> None:
    assert web.exec(["touch", "/tmp/mine"], user="1000:1001").code == 0
    found = os.stat(f"{own_files(web)}/tmp/mine")
    assert (found.st_uid, found.st_gid) == (1000, 1001)


def test_the_files_of_the_image_belong_to_its_root_inside(web: Instance) -> None:
    assert inside(web, "stat", "-c", "%u:%g", "/etc/passwd") == "0:0\n"


def test_a_change_does_not_reach_the_image(web: Instance, images: Path) -> None:
    inside(web, "rm", "/etc/motd")
    assert list(images.glob("layers/*/etc/motd"))


def test_its_host_name_is_its_name(web: Instance) -> None:
    assert entered(web, "hostname") == "web\n"


def test_the_hosts_name_stays(web: Instance) -> None:
    before = os.uname().nodename
    inside(web, "hostname", "else")
    assert os.uname().nodename == before


def test_its_init_is_process_1(web: Instance) -> None:
    assert traces.status(init_of(web))["NSpid"].split() == [str(init_of(web)), "1"]


def test_it_sees_no_process_of_the_host(web: Instance) -> None:
    seen = {int(word) for word in inside(web, "ls", "/proc").split() if word.isdecimal()}
    assert 1 in seen and len(seen) < 10


def test_its_monitor_has_left_the_callers_session(web: Instance) -> None:
    assert os.getsid(web.info().monitor_pid) == web.info().monitor_pid


def test_its_monitor_has_left_the_callers_control_groups(web: Instance) -> None:
    lines = Path(f"/proc/{web.info().monitor_pid}/cgroup").read_text().splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {"/"}


def test_its_control_groups_look_like_the_top(web: Instance) -> None:
    assert {line.split(":", 2)[2] for line in inside(web, "cat", "/proc/1/cgroup").splitlines()} == {"/"}


def test_it_can_make_control_groups_below_its_own(web: Instance) -> None:
    inside(web, "mkdir", "/sys/fs/cgroup/mine")
    assert [path for top in traces.cgroups([web.id]) if (path := top / "guest" / "mine").is_dir()]


def test_it_cannot_lift_its_own_limits(launch: Launch) -> None:
    web = launch("limits.processes=50")
    found = [path for top in traces.cgroups([web.id]) if (path := top / "pids.max").exists()]
    assert [os.stat(path).st_uid for path in found] == [0]


def test_an_own_clock_begins_at_its_start(launch: Launch) -> None:
    assert int(answer(launch("boot.own_clock=true"), "clock")) < 5 < time.clock_gettime(time.CLOCK_BOOTTIME)


def test_an_own_clock_is_a_namespace(launch: Launch) -> None:
    assert traces.namespace(init_of(launch("boot.own_clock=true")), "time") != traces.namespace("self", "time")


def test_without_a_network_there_is_the_loopback_interface_alone(web: Instance) -> None:
    lines = Path(f"/proc/{init_of(web)}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def test_the_loopback_interface_is_up(web: Instance) -> None:
    assert "LOOPBACK,UP" in entered(web, "ip", "link", "show", "lo")


def test_the_hosts_network_is_shared_where_that_is_asked_for(launch: Launch) -> None:
    web = launch("nics.eth0.type=host")
    assert traces.namespace(init_of(web), "net") == traces.namespace("self", "net")


def test_on_the_hosts_network_it_has_the_hosts_resolver(launch: Launch) -> None:
    assert inside(launch("nics.eth0.type=host"), "cat", "/etc/resolv.conf") == Path("/etc/resolv.conf").read_text()


def test_on_the_hosts_network_it_cannot_change_it(launch: Launch) -> None:
    result = launch("nics.eth0.type=host").exec(["ip", "link", "set", "lo", "mtu", "1400"])
    assert b"not permitted" in result.stderr


def test_root_of_a_privileged_container_is_root_of_the_host(launch: Launch) -> None:
    web = launch("security.privileged=true")
    assert traces.status(init_of(web))["Uid"].split() == ["0"] * 4


def test_a_privileged_container_has_the_hosts_user_namespace_and_no_other(launch: Launch) -> None:
    web = launch("security.privileged=true")
    shared = [k for k in traces.NAMESPACES if traces.namespace(init_of(web), k) == traces.namespace("self", k)]
    assert shared == ["user"]


def test_a_privileged_container_says_so(launch: Launch) -> None:
    said = launch("security.privileged=true").info()
    assert (said.privileged, said.idmap) == (True, ())


def test_its_variables_are_the_images_and_the_configurations(launch: Launch) -> None:
    web = launch("env.LANG=C.UTF-8", f"init.command={PAYLOAD} init")
    variables = Path(f"/proc/{init_of(web)}/environ").read_text().split("\0")
    assert {"LANG=C.UTF-8", "container=cloison", "TERM=linux"} <= set(variables)


def test_its_variables_are_none_of_the_callers(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISON_SECRET", "do not tell")
    assert b"CLOISON" not in Path(f"/proc/{init_of(launch())}/environ").read_bytes()


def test_its_init_begins_in_the_configured_directory(launch: Launch) -> None:
    web = launch(f"init.command={PAYLOAD} init", "init.cwd=/var/log")
    assert os.readlink(f"/proc/{init_of(web)}/cwd") == "/var/log"


def test_its_init_can_be_another_user(launch: Launch) -> None:
    web = launch(f"init.command={PAYLOAD} init", "init.uid=1000", "init.gid=1001")
    said, base = traces.status(init_of(web)), web.info().idmap[0].host
    assert (said["Uid"].split()[0], said["Gid"].split()[0]) == (str(base + 1000), str(base + 1001))


def test_an_init_that_is_another_user_holds_no_capability(launch: Launch) -> None:
    web = launch(f"init.command={PAYLOAD} init", "init.uid=1000", "init.gid=1001")
    assert int(traces.status(init_of(web))["CapPrm"], 16) == 0
