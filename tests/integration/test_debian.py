"""A Debian system container is a system: it boots, runs services, reboots and powers off by itself."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance, State
from tests.integration.conftest import (
    ALONE,
    booted,
    empty_installation,
    entered,
    init_of,
    inside,
    installation,
    own_files,
)
from tests.patience import patient

pytestmark = [
    pytest.mark.debian,
    pytest.mark.guest,
    pytest.mark.needs_root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
BOOT_S = 60

SERVICE = """\
[Unit]
Description=Writes that it runs
[Service]
ExecStart=/bin/sh -c 'echo hello from the service; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, debian_images: Path) -> Iterator[Engine]:
    with installation(empty_installation(tmp_path_factory.mktemp("debian") / "root", debian_images)) as engine:
        yield engine


@pytest.fixture(scope="module")
def debian(engine: Engine) -> Instance:
    """A Debian that has finished booting; the tests of this module share it."""
    instance = engine.launch("debian/12", "deb", config=["limits.memory=1G", "limits.processes=1000"])
    wait_until(lambda: booted(instance))
    return instance


def wait_until(is_so: Callable[[], bool], seconds: float = BOOT_S) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def test_systemd_says_that_it_runs_with_no_failed_unit(debian: Instance) -> None:
    assert inside(debian, "systemctl", "is-system-running") == "running\n"
    assert json.loads(inside(debian, "systemctl", "--failed", "--output=json")) == []


def test_another_witness_sees_systemd_as_its_init(debian: Instance) -> None:
    assert os.readlink(f"/proc/{init_of(debian)}/exe").endswith("/systemd")
    assert entered(debian, "ps", "-p", "1", "-o", "comm=").strip() == "systemd"
    assert Path(f"/proc/{init_of(debian)}").stat().st_uid == debian.info().idmap[0].host


def test_the_journal_works(debian: Instance) -> None:
    inside(debian, "systemd-cat", "-t", "witness", "echo", "written to the journal")
    wait_until(lambda: "written to the journal" in inside(debian, "journalctl", "-t", "witness", "--no-pager"), 10)


def test_tools_of_an_administrator_behave(debian: Instance) -> None:
    assert "container" in inside(debian, "hostnamectl")
    assert "systemd" in inside(debian, "ps", "ax")
    assert "overlay" in inside(debian, "mount")
    assert debian.exec(["loginctl", "list-sessions"]).code == 0
    assert inside(debian, "hostname").strip() == "deb"


def test_a_host_name_that_is_set_inside_stays_inside(debian: Instance) -> None:
    before = os.uname().nodename
    inside(debian, "hostnamectl", "set-hostname", "renamed")
    assert entered(debian, "uname", "-n").strip() == "renamed"
    assert os.uname().nodename == before
    inside(debian, "hostnamectl", "set-hostname", "deb")


def test_its_init_owns_a_cgroup_subtree_and_cannot_reach_its_limits(debian: Instance) -> None:
    inside(debian, "mkdir", "/sys/fs/cgroup/own")
    inside(debian, "rmdir", "/sys/fs/cgroup/own")
    assert "system.slice" in inside(debian, "ls", "/sys/fs/cgroup")
    assert debian.exec(["test", "-w", "/sys/fs/cgroup/../memory.max"]).code != 0
    assert inside(debian, "cat", "/proc/1/cgroup").splitlines()[-1] == "0::/init.scope"


def test_a_package_is_installed_with_dpkg_and_its_service_runs(debian: Instance) -> None:
    script = f"""
    set -e
    mkdir -p /tmp/pkg/DEBIAN /tmp/pkg/lib/systemd/system
    printf '%s\\n' 'Package: witness' 'Version: 1' 'Architecture: all' > /tmp/pkg/DEBIAN/control
    printf '%s\\n' 'Maintainer: x <x@x>' 'Description: x' >> /tmp/pkg/DEBIAN/control
    cat > /tmp/pkg/lib/systemd/system/witness.service <<'UNIT'
{SERVICE}UNIT
    dpkg-deb --build /tmp/pkg /tmp/witness.deb
    dpkg -i /tmp/witness.deb
    systemctl enable --now witness.service
    """
    inside(debian, "sh", "-c", script)
    assert inside(debian, "systemctl", "is-active", "witness.service") == "active\n"
    wait_until(lambda: "hello from the service" in inside(debian, "journalctl", "-u", "witness", "--no-pager"), 10)


def test_files_it_made_belong_to_root_on_disk_unshifted(debian: Instance) -> None:
    inside(debian, "sh", "-c", "echo x > /root/made; chown 33:33 /root/made")
    on_disk = os.stat(f"{own_files(debian)}/root/made")
    assert (on_disk.st_uid, on_disk.st_gid) == (33, 33)


def test_a_login_shell_on_a_terminal(debian: Instance) -> None:
    said = inside(debian, "script", "-qec", "bash -lc 'tty; echo $HOME'", "/dev/null")
    assert "/dev/pts/" in said
    assert "/root" in said


def test_reboot_inside_restarts_it(debian: Instance) -> None:
    first = debian.observe()
    boot_id = inside(debian, "cat", "/proc/sys/kernel/random/boot_id")
    assert boot_id
    debian.set("env.AFTER_REBOOT=yes")
    debian.exec(["systemctl", "reboot"])
    wait_until(lambda: debian.observe().pid not in (0, first.pid) and booted(debian))
    assert debian.info().exit is not None
    assert debian.observe().monitor_pid != first.monitor_pid
    assert inside(debian, "sh", "-c", "echo $AFTER_REBOOT") == "yes\n"
    assert inside(debian, "systemctl", "is-active", "witness.service") == "active\n"


def test_stop_shuts_it_down_in_order(debian: Instance) -> None:
    debian.stop(timeout_s=patient(30))
    assert debian.state is State.STOPPED
    assert b"Reached target" in debian.logs() or b"Stopped" in debian.logs()
    found = debian.info().exit
    assert found is not None
    assert found.reason == "halted"
    debian.start()
    wait_until(lambda: booted(debian))


def test_poweroff_inside_stops_it(debian: Instance) -> None:
    debian.exec(["systemctl", "poweroff"])
    assert debian.wait(patient(30))
    assert debian.state is State.STOPPED
    debian.start()
    wait_until(lambda: booted(debian))
    assert inside(debian, "systemctl", "is-system-running") == "running\n"


def test_a_privileged_debian_boots_too(engine: Engine) -> None:
    instance = engine.launch("debian/12", "priv", config=[*ALONE, "security.privileged=true"])
    wait_until(lambda: booted(instance))
    assert inside(instance, "systemctl", "is-system-running") == "running\n"
    assert Path(f"/proc/{init_of(instance)}").stat().st_uid == 0
    instance.delete(force=True)


def test_no_mount_of_it_is_seen_by_the_host(debian: Instance) -> None:
    seen = subprocess.run(["findmnt", "--json", "--list"], capture_output=True, text=True, check=True).stdout
    assert debian.id not in seen
