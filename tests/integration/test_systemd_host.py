"""On a host with systemd: all instances in one delegated scope, and neither in the other's way."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloison import Engine, Instance, State
from cloison.runtime import scope
from tests.integration import traces
from tests.integration.conftest import PROGRAM, QUICK, Launch, init_of

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_systemd, pytest.mark.guest]


@pytest.fixture
def unit(root: Path) -> str:
    """The scope of this test's installation."""
    return scope.unit(str(root / "run"))


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60).stdout.strip()


def becomes(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def group(pid: int) -> str:
    """Where systemd sees a process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    places = dict(line.split(":", 2)[1:] for line in lines)
    return places.get("") or places["name=systemd"]


def test_it_lives_in_a_scope_that_systemd_has_delegated(quick: Instance, unit: str) -> None:
    assert systemctl("show", "--property=Delegate", "--value", unit) == "yes"
    assert systemctl("show", "--property=ControlGroup", "--value", unit) == f"/cloison.slice/{unit}"
    assert group(init_of(quick)) == f"/cloison.slice/{unit}/cloison/{quick.id}/guest"
    assert group(quick.observe().monitor_pid) == f"/cloison.slice/{unit}/keepers"


def test_nothing_is_left_at_the_top(quick: Instance) -> None:
    tracked = [path for path in traces.cgroups([quick.id]) if (path / "cgroup.events").exists()]
    assert tracked
    assert all("cloison.slice" in path.parts for path in tracked)


def test_systemd_leaves_the_limits_alone(launch: Launch) -> None:
    web = launch(*QUICK, "limits.memory=64M", "limits.processes=50")
    before = limits(web)
    assert before
    systemctl("daemon-reload")
    systemctl("set-property", "--runtime", "cloison.slice", "CPUWeight=200")
    assert limits(web) == before
    systemctl("revert", "cloison.slice")


def limits(instance: Instance) -> dict[str, str]:
    names = ("memory.max", "memory.limit_in_bytes", "pids.max", "cgroup.subtree_control")
    paths = [path / name for path in traces.cgroups([instance.id]) for name in names]
    return {str(path): path.read_text() for path in paths if path.exists()}


def test_the_scope_is_gone_with_the_last_one(quick: Instance, launch: Launch, unit: str) -> None:
    other = launch(*QUICK, name="other")
    quick.stop()
    assert systemctl("is-active", unit) == "active"
    other.stop()
    assert becomes(lambda: systemctl("is-active", unit) == "inactive")
    assert becomes(lambda: not list(Path("/sys/fs/cgroup").glob(f"**/cloison.slice/{unit}")))
    quick.start()
    assert systemctl("is-active", unit) == "active"


def test_stopping_the_scope_stops_the_instances_and_leaves_nothing(quick: Instance, unit: str) -> None:
    systemctl("stop", unit)
    assert becomes(lambda: quick.observe().state is State.STOPPED)
    assert traces.cgroups([quick.id]) == []
    quick.start()


def test_it_outlives_the_session_that_started_it(stopped: Instance) -> None:
    session = ["systemd-run", "--scope", "--quiet", "--collect", "--unit=cloison-session-of-test"]
    command = [*session, "--", str(PROGRAM), "start", stopped.name]
    subprocess.run(command, check=True, timeout=60)
    assert becomes(lambda: systemctl("is-active", "cloison-session-of-test.scope") == "inactive")
    assert stopped.observe().state is State.RUNNING


def test_a_start_that_meets_the_end_of_the_scope_is_in_a_living_one(engine: Engine, quick: Instance, unit: str) -> None:
    other = engine.create("busybox", "other", config=QUICK)
    for number in range(6):
        ending = threading.Thread(target=quick.kill)
        ending.start()
        time.sleep(0.004 * number)
        other.start()
        ending.join()
        assert becomes(lambda: systemctl("is-active", unit) == "active")
        assert group(other.observe().monitor_pid) == f"/cloison.slice/{unit}/keepers"
        quick.wait(20)
        quick, other = other, quick
    quick.kill()


def test_a_controller_that_systemd_does_not_know_is_handed_down_all_the_same(launch: Launch) -> None:
    if "hugetlb" not in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        pytest.skip("the v2 tree has no hugetlb")
    web = launch(*QUICK, "limits.hugepages.2M=4M")
    (found,) = [path for path in traces.cgroups([web.id]) if (path / "hugetlb.2MB.max").exists()]
    assert (found / "hugetlb.2MB.max").read_text().strip() == str(4 << 20)
