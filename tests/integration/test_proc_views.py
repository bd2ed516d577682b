"""What a container sees of itself in /proc, with a real lxcfs on the host: its limits, not the machine's size."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Unsupported
from tests.integration import traces
from tests.integration.conftest import Launch, init_of, inside

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.needs_lxcfs]

VIEWS = ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")


@pytest.fixture
def lxcfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """An lxcfs that these tests alone use, at a directory of theirs."""
    place = tmp_path / "lxcfs"
    place.mkdir()
    monkeypatch.setenv("CLOISON_LXCFS", str(place))
    command = ["lxcfs", "-f", "-p", str(tmp_path / "pid"), str(place)]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (place / "proc" / "meminfo").exists():
            assert daemon.poll() is None and time.monotonic() < deadline, "lxcfs does not start"
            time.sleep(0.01)
        yield daemon
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(20)
        if str(place) in Path("/proc/self/mountinfo").read_text():
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def kib(meminfo: str, field: str) -> int:
    (line,) = (line for line in meminfo.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


@pytest.mark.parametrize(
    "more", [(), ("security.privileged=true",), ("nics.eth0.type=host",), ("boot.own_clock=true",)]
)
@pytest.mark.usefixtures("lxcfs")
def test_memory_is_what_the_limit_leaves(launch: Launch, more: tuple[str, ...]) -> None:
    web = launch("limits.memory=64M", *more)
    assert kib(inside(web, "cat", "/proc/meminfo"), "MemTotal") == 64 << 10
    assert kib(Path("/proc/meminfo").read_text(), "MemTotal") > 64 << 10


@pytest.mark.guest
@pytest.mark.usefixtures("lxcfs")
def test_a_limit_that_changes_shows_at_once(launch: Launch) -> None:
    web = launch("limits.memory=64M")
    web.set("limits.memory=96M")
    assert kib(inside(web, "cat", "/proc/meminfo"), "MemTotal") == 96 << 10


@pytest.mark.guest
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU cannot be narrowed")
@pytest.mark.usefixtures("lxcfs")
def test_the_cpus_are_those_of_the_limit(launch: Launch) -> None:
    web = launch("limits.cpu_set=1")
    assert inside(web, "nproc").strip() == "1"
    assert inside(web, "grep", "-c", "^processor", "/proc/cpuinfo").strip() == "1"
    assert inside(web, "grep", "-c", "^cpu[0-9]", "/proc/stat").strip() == "1"
    assert inside(web, "cat", "/sys/devices/system/cpu/online").strip() == "1"
    web.set("limits.cpu_set=0-1")
    assert inside(web, "nproc").strip() == "2"
    assert inside(web, "grep", "-c", "^processor", "/proc/cpuinfo").strip() == "2"


@pytest.mark.guest
@pytest.mark.usefixtures("lxcfs")
def test_every_view_is_in_its_place_and_can_only_be_read(launch: Launch) -> None:
    mounts = traces.mount_table(init_of(launch()))
    for path in (*(f"/proc/{name}" for name in VIEWS), "/sys/devices/system/cpu/online"):
        assert mounts[path].fstype == "fuse.lxcfs"
        assert {"ro", "nosuid", "nodev", "noexec"} <= mounts[path].options


@pytest.mark.usefixtures("lxcfs")
def test_uptime_counts_from_the_start(launch: Launch) -> None:
    uptime = float(inside(launch(), "cat", "/proc/uptime").split()[0])
    assert uptime < float(Path("/proc/uptime").read_text().split()[0]) / 2


@pytest.mark.usefixtures("lxcfs")
def test_who_does_not_want_them_sees_the_machine(launch: Launch) -> None:
    web = launch("limits.memory=64M", "boot.proc_views=false")
    assert kib(inside(web, "cat", "/proc/meminfo"), "MemTotal") == kib(Path("/proc/meminfo").read_text(), "MemTotal")


def test_without_lxcfs_who_insists_is_told(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISON_LXCFS", str(tmp_path))
    with pytest.raises(Unsupported) as refused:
        launch("boot.proc_views=true")
    assert str(refused.value) == f"boot.proc_views=true needs lxcfs, which is not mounted at {tmp_path}"
    assert inside(launch(name="other"), "cat", "/proc/meminfo")


def test_an_lxcfs_that_has_died_stops_no_start(lxcfs: subprocess.Popen[bytes], launch: Launch) -> None:
    lxcfs.kill()
    lxcfs.wait()
    place = os.environ["CLOISON_LXCFS"]
    assert place in Path("/proc/self/mountinfo").read_text()
    web = launch("limits.memory=64M")
    assert kib(inside(web, "cat", "/proc/meminfo"), "MemTotal") == kib(Path("/proc/meminfo").read_text(), "MemTotal")
    with pytest.raises(Unsupported, match="is mounted but does not answer"):
        launch("boot.proc_views=true", name="other")
