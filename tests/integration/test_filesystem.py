"""What a container finds: its root, its mounts, its devices. The witness is /proc/PID/mountinfo."""

import os
import stat
from pathlib import Path

import pytest

from cloison import Instance
from tests.integration import traces
from tests.integration.conftest import Launch, answer, init_of, inside

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

EXPECTED = {
    "/": "overlay",
    "/proc": "proc",
    "/sys": "sysfs",
    "/sys/fs/cgroup": "cgroup2",
    "/dev": "tmpfs",
    "/dev/pts": "devpts",
    "/dev/shm": "tmpfs",
    "/dev/mqueue": "mqueue",
    "/run": "tmpfs",
}
NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
SEALED = ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory"]
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "ptmx": "pts/ptmx"}


def table(instance: Instance) -> dict[str, traces.Mount]:
    return traces.mount_table(init_of(instance))


@pytest.mark.needs_cgroup2
@pytest.mark.parametrize("point", EXPECTED)
def test_it_has_what_a_system_expects(web: Instance, point: str) -> None:
    assert table(web)[point].fstype == EXPECTED[point]


def test_it_has_no_mount_of_the_host(web: Instance) -> None:
    below = ("/dev/", "/proc/", "/sys/")
    assert {point for point in table(web) if not point.startswith(below)} == {"/", "/proc", "/sys", "/dev", "/run"}


def test_no_mount_is_shared_with_the_host(web: Instance) -> None:
    assert {tag.partition(":")[0] for mount in table(web).values() for tag in mount.tags} <= {"unbindable"}


def test_the_host_has_no_mount_of_it(web: Instance, root: Path) -> None:
    assert traces.mounts(root) == []


def test_its_proc_shows_its_own_processes(web: Instance) -> None:
    assert inside(web, "readlink", "/proc/self/ns/pid") == f"{traces.namespace(init_of(web), 'pid')}\n"


def test_sys_is_read_only(web: Instance) -> None:
    assert "ro" in table(web)["/sys"].options


@pytest.mark.parametrize("point", ["/proc", "/sys", "/sys/fs/cgroup"])
def test_nothing_is_executed_from_a_kernel_file_system(web: Instance, point: str) -> None:
    assert {"nosuid", "nodev", "noexec"} <= table(web)[point].options


@pytest.mark.parametrize("name", NODES)
def test_a_device_is_the_hosts_own(web: Instance, name: str) -> None:
    found = os.stat(f"/proc/{init_of(web)}/root/dev/{name}")
    assert (stat.S_ISCHR(found.st_mode), (os.major(found.st_rdev), os.minor(found.st_rdev))) == (True, NODES[name])


@pytest.mark.parametrize("name", LINKS)
def test_dev_has_the_usual_links(web: Instance, name: str) -> None:
    assert os.readlink(f"/proc/{init_of(web)}/root/dev/{name}") == LINKS[name]


def test_dev_has_nothing_else(web: Instance) -> None:
    expected = {*NODES, "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue", "console"}
    assert set(os.listdir(f"/proc/{init_of(web)}/root/dev")) == expected


def test_dev_null_takes_what_is_written(web: Instance) -> None:
    assert answer(web, "write", "/dev/null", "x") == "ok"


def test_its_console_is_a_terminal_of_its_own_devpts(web: Instance) -> None:
    assert table(web)["/dev/console"].fstype == "devpts"


def test_it_sees_none_of_the_hosts_terminals(web: Instance) -> None:
    assert inside(web, "ls", "/dev/pts").split() == ["0", "ptmx"]


def test_it_cannot_make_a_device(web: Instance) -> None:
    assert answer(web, "mknod", "/tmp/device") == "EPERM"


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"])
def test_a_masked_file_is_empty(web: Instance, path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"this kernel has no {path}")
    assert inside(web, "cat", path) == ""


@pytest.mark.parametrize("path", ["/proc/acpi", "/sys/firmware"])
def test_a_masked_directory_is_empty_and_sealed(web: Instance, path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"this kernel has no {path}")
    mount = table(web)[path]
    assert (mount.fstype, "ro" in mount.options, inside(web, "ls", "-A", path)) == ("tmpfs", True, "")


def test_a_masked_file_is_covered_by_the_null_device(web: Instance) -> None:
    found = os.stat(f"/proc/{init_of(web)}/root/proc/keys")
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (1, 3)


@pytest.mark.parametrize("path", SEALED)
def test_a_sealed_file_cannot_be_written(web: Instance, path: str) -> None:
    assert answer(web, "open", path, "w") in ("EROFS", "EACCES")


@pytest.mark.parametrize("path", SEALED)
def test_root_of_the_host_cannot_write_a_sealed_file_either(launch: Launch, path: str) -> None:
    assert answer(launch("security.privileged=true"), "open", path, "w") == "EROFS"


def test_a_sealed_file_can_be_read(web: Instance) -> None:
    assert answer(web, "open", "/proc/sys/kernel/core_pattern", "r") == "ok"


@pytest.mark.parametrize("path", SEALED)
def test_who_lifts_the_seal_gains_nothing(web: Instance, path: str) -> None:
    """Its root may mount, and so remount what was mounted for it; the file itself belongs to the host's root."""
    assert answer(web, "remount-rw", "/proc/sys") == "ok"
    assert answer(web, "open", path, "w") == "EACCES"


def test_parameters_of_its_own_network_can_be_set(web: Instance) -> None:
    assert answer(web, "write", "/proc/sys/net/ipv4/ip_default_ttl", "65") == "ok"


def test_parameters_of_the_hosts_network_cannot_be_set(launch: Launch) -> None:
    web = launch("nics.eth0.type=host")
    assert answer(web, "open", "/proc/sys/net/ipv4/ip_default_ttl", "w") in ("EROFS", "EACCES")


def test_on_the_hosts_network_sys_is_sealed_to_the_bottom(launch: Launch) -> None:
    mounts = table(launch("nics.eth0.type=host"))
    unsealed = [p for p, m in mounts.items() if p.startswith("/sys/") and "ro" not in m.options]
    assert unsealed in ([], ["/sys/fs/cgroup"])


def test_its_root_can_be_written(web: Instance) -> None:
    assert answer(web, "write", "/etc/mine", "x") == "ok"


def test_a_read_only_root_cannot_be_written(launch: Launch) -> None:
    assert answer(launch("security.read_only_root=true"), "write", "/etc/mine", "x") == "EROFS"


def test_below_a_read_only_root_run_can_be_written(launch: Launch) -> None:
    assert answer(launch("security.read_only_root=true"), "write", "/run/mine", "x") == "ok"


def test_its_users_can_use_tmp(web: Instance) -> None:
    assert web.exec(["touch", "/tmp/mine"], user="1000").code == 0


def test_what_it_has_written_is_there_after_a_restart(web: Instance) -> None:
    inside(web, "touch", "/root/mine")
    web.restart(force=True)
    assert inside(web, "ls", "/root") == "mine\n"


def test_what_it_has_deleted_stays_away_after_a_restart(web: Instance) -> None:
    inside(web, "rm", "/etc/motd")
    web.restart(force=True)
    assert web.exec(["cat", "/etc/motd"]).code == 1
