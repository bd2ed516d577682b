"""What is held in the freezer of cgroup v1, by the host or by the guest itself, can be ended all the same."""

import os
import signal
import time
from pathlib import Path

import pytest

from cloison import Engine, Instance, State
from tests.integration import traces
from tests.integration.conftest import QUICK, Launch

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]
GUESTS_OWN = """
mount -t cgroup -o freezer none /mnt && mkdir /mnt/own
sleep 500 >/dev/null 2>&1 </dev/null &
echo $! >/mnt/own/cgroup.procs; sleep 0.1; echo FROZEN >/mnt/own/freezer.state
"""


def freezer_of(instance: Instance) -> Path:
    found = [path for top in traces.cgroups([instance.id]) if (path := top / "freezer.state").exists()]
    return found[0] if found else pytest.skip("the freezer of cgroup v1 is not mounted")


def test_what_is_frozen_in_v1_can_be_stopped_by_force(quick: Instance) -> None:
    freezer_of(quick).write_text("FROZEN")
    begin = time.monotonic()
    quick.stop(force=True)
    assert time.monotonic() - begin < 3


def test_a_guest_has_no_freezer_of_its_own(quick: Instance) -> None:
    freezer_of(quick)
    assert b"Permission denied" in quick.exec(["sh", "-c", GUESTS_OWN]).stderr


def test_a_guest_cannot_hold_up_its_end_by_freezing_itself(launch: Launch) -> None:
    """A privileged one can make groups in every hierarchy."""
    privileged = launch(*QUICK, "security.privileged=true", name="privileged")
    freezer_of(privileged)
    assert privileged.exec(["sh", "-c", GUESTS_OWN]).code == 0
    begin = time.monotonic()
    privileged.stop(force=True)
    assert time.monotonic() - begin < 5
    assert traces.cgroups([privileged.id]) == []


def test_what_was_frozen_in_v1_when_its_monitor_died_is_taken_back(quick: Instance, engine: Engine, root: Path) -> None:
    freezer_of(quick).write_text("FROZEN")
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    while quick.state is not State.STUCK:
        time.sleep(0.005)
    begin = time.monotonic()
    engine.repair()
    assert time.monotonic() - begin < 3
    assert traces.left(root, [quick.id]) == []
