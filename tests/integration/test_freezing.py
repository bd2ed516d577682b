"""Freezing: nothing runs any further, and everything goes on where it was."""

import os
import signal
import time
from pathlib import Path

import pytest

from cloison import Engine, Instance, State, WrongState
from tests.integration import traces
from tests.integration.conftest import Launch, init_of

pytestmark = [pytest.mark.guest, pytest.mark.needs_root]


@pytest.fixture
def busy(launch: Launch) -> Instance:
    """A container that uses up its CPU."""
    return launch("init.command=/bin/sh -c 'while :; do :; done'", name="busy")


def cpu_time(instance: Instance) -> int:
    """Clock ticks of its init, as the kernel counts them."""
    fields = Path(f"/proc/{init_of(instance)}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_what_is_frozen_uses_no_cpu_and_goes_on_afterwards(busy: Instance) -> None:
    busy.freeze()
    assert str(busy.state) == "frozen"
    before = cpu_time(busy)
    time.sleep(0.3)
    assert cpu_time(busy) == before
    busy.unfreeze()
    assert str(busy.state) == "running"
    time.sleep(0.5)
    assert cpu_time(busy) > before


def test_nothing_can_be_run_in_what_is_frozen(quick: Instance) -> None:
    quick.freeze()
    with pytest.raises(WrongState, match="frozen") as caught:
        quick.exec(["true"])
    assert "cloison unfreeze quick" in caught.value.hint
    quick.unfreeze()
    assert quick.exec(["true"]).code == 0


def test_a_stop_of_what_is_frozen_lets_its_init_end_in_order(quick: Instance) -> None:
    quick.freeze()
    quick.stop()
    ended = quick.info().exit
    assert ended is not None
    assert (ended.code, ended.reason) == (0, "exited")


@pytest.mark.parametrize("force", [True, False])
def test_what_is_frozen_can_be_deleted(quick: Instance, engine: Engine, *, force: bool) -> None:
    quick.freeze()
    if not force:
        with pytest.raises(WrongState, match="frozen"):
            quick.delete()
    quick.delete(force=True)
    assert engine.instances() == ()
    assert traces.cgroups([quick.id]) == []


def test_a_monitor_that_dies_while_it_is_frozen_leaves_nothing(quick: Instance, engine: Engine, root: Path) -> None:
    quick.freeze()
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    time.sleep(0.1)
    engine.repair()
    assert traces.left(root, [quick.id]) == []


def test_only_what_runs_is_frozen_and_only_what_is_frozen_thawed(stopped: Instance) -> None:
    with pytest.raises(WrongState, match="stopped"):
        stopped.freeze()
    with pytest.raises(WrongState, match="not frozen"):
        stopped.unfreeze()
    stopped.start()
    stopped.freeze()
    with pytest.raises(WrongState, match="frozen"):
        stopped.freeze()
    stopped.unfreeze()
    assert stopped.state is State.RUNNING
