"""A container's life: start, stop, reboot, death, new names, and what is known of it at each moment."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import cloison
from cloison import Engine, Exists, Instance, Invalid, NotFound, State, WrongState
from tests.integration import traces
from tests.integration.conftest import ALONE, PAYLOAD, QUICK, Launch, init_of
from tests.patience import patient

pytestmark = [pytest.mark.guest, pytest.mark.needs_root]


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def ended(instance: Instance) -> tuple[int, str]:
    found = instance.info().exit
    assert found is not None
    return found.code, found.reason


def test_what_was_created_is_stopped_and_has_never_run(stopped: Instance) -> None:
    info = stopped.info()
    assert (info.state, info.pid, info.started, info.exit) == (State.STOPPED, 0, None, None)


def test_what_runs_has_an_init_and_a_monitor(quick: Instance) -> None:
    info = quick.info()
    assert info.state is State.RUNNING
    assert traces.status(info.pid)["PPid"] == str(info.monitor_pid)
    assert info.started is not None


def test_a_stop_is_the_inits_own_way_to_end(quick: Instance) -> None:
    quick.stop()
    assert quick.state is State.STOPPED
    assert ended(quick) == (0, "exited")


def test_an_init_that_does_not_listen_is_killed_after_its_time(launch: Launch) -> None:
    deaf = launch(f"init.command={PAYLOAD} deaf", "boot.stop_timeout=300ms", name="deaf")
    begun = time.monotonic()
    deaf.stop()
    assert 0.3 <= time.monotonic() - begun < 10
    assert ended(deaf) == (137, "killed")


def test_force_does_not_wait(launch: Launch) -> None:
    deaf = launch(f"init.command={PAYLOAD} deaf", name="deaf")
    begun = time.monotonic()
    deaf.stop(force=True)
    assert time.monotonic() - begun < 5


def test_a_forced_stop_overtakes_one_that_waits(launch: Launch) -> None:
    deaf = launch(f"init.command={PAYLOAD} deaf", name="deaf")
    waiting = os.fork()
    if waiting == 0:
        cloison.open(os.environ["CLOISON_ROOT"]).get("deaf").stop(timeout_s=60)
        os._exit(0)
    wait_until(lambda: deaf.state is State.STOPPING)
    deaf.stop(force=True)
    assert os.waitpid(waiting, 0)[1] == 0


def waits_for(number: int, pid: int) -> bool:
    """Whether a process catches or blocks a signal: an init that does neither, yet, does not get it (signal(7))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigCgt", "SigBlk"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_a_signal_reaches_the_init(quick: Instance) -> None:
    wait_until(lambda: waits_for(15, quick.observe().pid))
    quick.kill("SIGTERM")
    assert quick.wait(20)
    assert ended(quick) == (0, "exited")


@pytest.mark.parametrize("name", ["SIGNOTHING", "0", "65", ""])
def test_a_signal_that_there_is_not_is_refused(quick: Instance, name: str) -> None:
    with pytest.raises(Invalid):
        quick.kill(name)
    assert quick.state is State.RUNNING


def test_a_restart_is_a_new_init_with_the_new_configuration(quick: Instance) -> None:
    first = init_of(quick)
    quick.set("env.NEW=1")
    quick.restart()
    assert init_of(quick) != first
    assert quick.exec(["sh", "-c", "echo $NEW"]).stdout == b"1\n"


def test_an_init_that_somebody_kills_is_told_with_its_signal(quick: Instance) -> None:
    os.kill(init_of(quick), signal.SIGKILL)
    assert quick.wait(20)
    assert ended(quick) == (137, "killed")


def test_power_off_inside_stops_it(quick: Instance) -> None:
    quick.exec([PAYLOAD, "reboot", "poweroff"])
    assert quick.wait(20)
    assert ended(quick) == (130, "halted")
    assert quick.state is State.STOPPED


def test_reboot_inside_starts_it_anew(quick: Instance) -> None:
    first = quick.observe()
    quick.exec([PAYLOAD, "reboot", "restart"])
    wait_until(lambda: quick.observe().pid not in (0, first.pid))
    assert quick.observe().monitor_pid != first.monitor_pid
    assert ended(quick) == (129, "rebooted")
    assert "rebooted" in [event.what for event in quick._engine.events(quick.id)]


def test_a_stop_wins_over_a_reboot(launch: Launch) -> None:
    stubborn = launch(f"init.command=/bin/sh -c 'trap \"{PAYLOAD} reboot restart\" TERM; while :; do sleep 0.05; done'",
                      "boot.stop_signal=SIGTERM", name="stubborn")  # fmt: skip
    time.sleep(0.2)
    stubborn.stop()
    time.sleep(0.5)
    assert stubborn.state is State.STOPPED
    assert ended(stubborn)[1] == "rebooted"


def test_busybox_reboots_by_its_own_init(web: Instance) -> None:
    first = init_of(web)
    web.exec(["reboot"])
    wait_until(lambda: web.observe().pid not in (0, first), 30)


def test_a_stop_while_it_reboots_wins_too(web: Instance) -> None:
    web.exec([PAYLOAD, "reboot", "restart"])
    wait_until(lambda: web.state is not State.RUNNING)
    web.stop()
    time.sleep(1)
    assert web.state is State.STOPPED


def test_a_deadline_of_nothing_is_one(launch: Launch) -> None:
    deaf = launch(f"init.command={PAYLOAD} deaf", name="deaf")
    assert not deaf.wait(0)
    deaf.stop(timeout_s=0)
    assert ended(deaf) == (137, "killed")


def test_one_that_shuts_down_slowly_can_be_looked_into(launch: Launch) -> None:
    deaf = launch(f"init.command={PAYLOAD} deaf", "boot.stop_signal=SIGTERM", name="deaf")
    deaf._engine.driver.request_stop(deaf.id, signal.SIGTERM, 0.1)
    assert deaf.state is State.STOPPING
    assert deaf.exec(["echo", "still here"]).stdout == b"still here\n"
    deaf.set("limits.processes=50")
    assert deaf.info().limits.processes == 50


def test_many_who_wait_do_not_close_the_door(quick: Instance) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(quick._engine.driver._monitor(quick.id))  # type: ignore[attr-defined]
        assert str(quick.state) == "running"
        assert quick.exec(["true"]).code == 0


def test_a_wait_has_a_deadline(quick: Instance) -> None:
    begun = time.monotonic()
    assert not quick.wait(0.2)
    assert 0.2 <= time.monotonic() - begun < 5


def test_start_of_what_runs_and_stop_of_what_does_not(quick: Instance) -> None:
    with pytest.raises(WrongState, match="running"):
        quick.start()
    quick.stop()
    with pytest.raises(WrongState, match="stopped"):
        quick.stop()


def test_a_new_name_is_found_and_the_old_one_is_free(stopped: Instance, engine: Engine) -> None:
    stopped.rename("other")
    assert engine.get("other").id == stopped.id
    with pytest.raises(NotFound):
        engine.get("quick")
    engine.create("busybox", "quick", config=ALONE)


def test_a_name_that_is_taken_or_impossible_is_refused(stopped: Instance, engine: Engine) -> None:
    engine.create("busybox", "other", config=ALONE)
    with pytest.raises(Exists):
        stopped.rename("other")
    with pytest.raises(Invalid):
        stopped.rename("no_host_name")
    assert engine.get("quick").id == stopped.id


def test_what_runs_keeps_its_name_and_its_files(quick: Instance) -> None:
    with pytest.raises(WrongState):
        quick.rename("other")
    with pytest.raises(WrongState):
        quick.delete()
    assert quick.exec(["true"]).code == 0


def test_a_deletion_takes_all_files_and_the_image_stays(stopped: Instance, engine: Engine) -> None:
    stopped.start()
    stopped.exec(["sh", "-c", "mkdir -p /a/b; echo x > /a/b/c; chmod 000 /a"])
    directory = Path(stopped.directory)
    stopped.delete(force=True)
    assert not directory.exists()
    assert engine.images.find("busybox").digest


def test_events_tell_its_life(stopped: Instance, engine: Engine) -> None:
    stopped.start()
    stopped.set("limits.memory=64M")
    stopped.stop()
    stopped.delete()
    told = [event.what for event in engine.events(stopped.id)]
    assert told == ["created", "started", "configured", "stopping", "stopped", "deleted"]


def test_one_stuck_launcher_does_not_hold_up_the_list(
    quick: Instance, engine: Engine, launcher_test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = engine.create("busybox", "stuck", config=QUICK)
    step = [action.step.kind for action in stuck.explain().actions].index("pivot_root")
    with monkeypatch.context() as patch:
        patch.setenv("CLOISON_LAUNCHER", str(launcher_test))
        patch.setenv("CLOISON_STOP_AT", str(step))
        starting = os.fork()
        if starting == 0:
            cloison.open(os.environ["CLOISON_ROOT"]).get("stuck").start()
            os._exit(0)
    wait_until(lambda: stuck.state is State.STARTING)
    begun = time.monotonic()
    states = {instance.name: instance.info().state for instance in engine.instances()}
    assert time.monotonic() - begun < 2
    assert states == {"quick": State.RUNNING, "stuck": State.STARTING}
    os.kill(starting, signal.SIGKILL)
    os.waitpid(starting, 0)
    stuck.stop(force=True)
    assert str(stuck.state) == "stopped"
    assert traces.cgroups([stuck.id]) == [], "a launcher that hangs can be stopped by force"
    assert not (Path(engine.layout.run) / stuck.id).exists()
