"""Whatever dies at whatever moment: after `repair` nothing is left of it, and the same container starts.

The launcher of these tests has hooks (native/hooks.c) at which it dies, fails or stops. A plan has some 175 steps;
each is killed before and after, so an iteration has to be cheap, and what goes wrong is collected.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cloison
from cloison import Busy, CloisonError, Engine, Instance, State
from tests.integration import traces
from tests.integration.conftest import ALONE, QUICK, init_of
from tests.patience import patient

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(600)]
NAMESPACES = traces.NAMESPACES


@pytest.fixture(autouse=True)
def hooked(launcher_test: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every launcher of this module has the hooks."""
    monkeypatch.setenv("CLOISON_LAUNCHER", str(launcher_test))


@pytest.fixture
def fault(stopped: Instance, engine: Engine, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`fault("CLOISON_KILL_BEFORE", 17)`: start with that hook, repair; what was wrong about it."""
    base = stopped.info().idmap[0].host

    def provoke(hook: str, step: int) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv(hook, str(step))
            found = start_and_hear(stopped)
        engine.repair()
        found += traces.left(root, [stopped.id], [base])
        found += [] if stopped.state is State.STOPPED else [f"state: {stopped.state}"]
        if not found:
            stopped.start()
            stopped.stop(force=True)
        return [f"{hook}={step}: {one}" for one in found]

    return provoke


def start_and_hear(instance: Instance) -> list[str]:
    """Start it, which must fail in words; what was wrong about that."""
    try:
        instance.start()
    except CloisonError as problem:
        return [] if str(problem).startswith("cannot start quick: ") else [f"said: {problem}"]
    return ["it started"]


def place_of(instance: Instance, kind: str) -> int:
    return [action.step.kind for action in instance.explain().actions].index(kind)


@pytest.mark.slow
def test_the_launcher_killed_before_every_step(stopped: Instance, fault: Callable[..., list[str]]) -> None:
    last = place_of(stopped, "monitor")  # by then it is running: see below
    assert [one for step in range(last) for one in fault("CLOISON_KILL_BEFORE", step)] == []


@pytest.mark.slow
def test_the_launcher_killed_after_every_step(stopped: Instance, fault: Callable[..., list[str]]) -> None:
    last = place_of(stopped, "exec")  # nobody returns from there, nor from being the monitor
    assert [one for step in range(last) for one in fault("CLOISON_KILL_AFTER", step)] == []


@pytest.mark.slow
def test_every_step_refused_by_the_kernel_names_itself_and_leaves_nothing(
    stopped: Instance, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    actions = stopped.explain().actions
    for step, action in enumerate(actions[:-1]):  # the last is to be the monitor, of what runs by then
        kind = action.step.kind
        with monkeypatch.context() as patch:
            patch.setenv("CLOISON_FAIL_AT", str(step))
            try:
                stopped.start()
                wrong += [] if action.optional else [f"{step} {kind}: it started"]
                stopped.stop(force=True)
            except CloisonError as problem:
                if action.optional or problem.facts.get("step") != step or problem.facts.get("errno") != "EIO":
                    wrong.append(f"{step} {kind}: {problem} {problem.facts}")
        wrong += [f"{step} {kind}: {one}" for one in traces.left(root, [stopped.id])]
    assert wrong == []


@pytest.fixture
def undo_steps(stopped: Instance) -> int:
    return len(list(stopped.explain().undo()))


def test_the_monitor_killed_in_every_undo_step(
    stopped: Instance, engine: Engine, root: Path, undo_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for step in range(undo_steps):
        with monkeypatch.context() as patch:
            patch.setenv("CLOISON_KILL_UNDO", str(step))
            stopped.start()
        stopped.kill("SIGKILL")
        stopped.wait(20)
        engine.repair()
        wrong += [f"{step}: {one}" for one in traces.left(root, [stopped.id])]
    assert undo_steps > 3
    assert wrong == []


@pytest.mark.guest
def test_the_monitor_killed_while_it_keeps_takes_the_container_with_it(
    quick: Instance, engine: Engine, root: Path
) -> None:
    init = init_of(quick)
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{init}").exists())
    assert quick.state is State.STUCK
    assert [one.where for one in engine.repair()] == ["quick"]
    assert traces.left(root, [quick.id]) == []
    quick.start()


@pytest.mark.guest
def test_the_next_command_repairs_by_itself(quick: Instance) -> None:
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    wait_until(lambda: quick.state is State.STUCK)
    quick.start()
    assert quick.state is State.RUNNING


def test_a_stop_of_what_lost_its_monitor_takes_it_back(quick: Instance, root: Path) -> None:
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    wait_until(lambda: quick.state is State.STUCK)
    quick.stop()
    assert traces.left(root, [quick.id]) == []


@pytest.mark.guest
def test_a_monitor_that_is_asked_to_end_ends_in_order(quick: Instance, root: Path) -> None:
    os.kill(quick.observe().monitor_pid, signal.SIGTERM)
    assert quick.wait(20)
    assert quick.state is State.STOPPED
    assert traces.left(root, [quick.id]) == []


# --- the Python process ----------------------------------------------------------------------------------------------

START = "import cloison; cloison.open().get('quick').start()"


def python(script: str, **environment: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("kind", ["attach_self", "mkdir_cgroup", "listen", "clone", "pivot_root", "exec"])
def test_python_killed_in_the_middle_of_a_start(stopped: Instance, engine: Engine, root: Path, kind: str) -> None:
    starting = python(START, CLOISON_STOP_AT=str(place_of(stopped, kind)))
    keeper = wait_for_stopped(root, stopped)
    assert str(stopped.state) == "starting", "nobody waits for a launcher that does not answer"
    starting.kill()
    starting.wait()
    wait_until(lambda: has_gone_on(keeper, stopped))
    assert stopped.state is State.RUNNING, "the launcher goes on by itself"
    stopped.stop(force=True)
    engine.repair()
    assert traces.left(root, [stopped.id]) == []


LAUNCH = """
import cloison
try:
    cloison.open().launch("busybox", "cut", config={config!r})
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def test_an_interrupted_launch_leaves_nothing(stopped: Instance, engine: Engine, root: Path) -> None:
    starting = python(LAUNCH.format(config=QUICK), CLOISON_STOP_AT=str(place_of(stopped, "clone")))
    wait_until(lambda: any(one.name == "cut" for one in engine.instances()))
    cut = engine.get("cut")
    keeper = wait_for_stopped(root, cut)
    starting.send_signal(signal.SIGINT)
    wait_until(lambda: has_gone_on(keeper, cut))
    assert starting.wait() == 130
    assert [one.name for one in engine.instances()] == [stopped.name]
    assert traces.left(root, [cut.id]) == []


def has_gone_on(pids: list[int], instance: Instance) -> bool:
    """Wake them, again where they had not come to rest yet."""
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return str(instance.state) != "starting"


def wait_for_stopped(root: Path, instance: Instance) -> list[int]:
    """The processes of the start that have come to rest at the hook."""

    base = instance.info().idmap[0].host

    def resting() -> list[int]:
        pids = traces.processes(root, (instance.id,), (base,))
        states = {pid: traces.status(pid).get("State", "")[:1] for pid in pids if "cloison" in traces.command_line(pid)}
        launchers = [pid for pid in states if "-c" not in traces.command_line(pid)]
        return launchers if launchers and all(states[pid] in "TS" for pid in launchers) else []

    wait_until(lambda: bool(resting()))
    time.sleep(0.1)  # those that are still on their way to the hook are asleep for microseconds only
    wait_until(lambda: bool(resting()))
    return resting()


def test_python_killed_between_the_journal_and_the_launcher(
    stopped: Instance, engine: Engine, root: Path, tmp_path: Path
) -> None:
    murderer = tmp_path / "launcher"
    murderer.write_text("#!/bin/sh\nkill -9 $PPID\n")
    murderer.chmod(0o755)
    starting = python(START, CLOISON_LAUNCHER=str(murderer))
    assert starting.wait() == -signal.SIGKILL
    wait_until(lambda: stopped.state is State.STUCK)  # its murderer holds the journal for a moment longer
    engine.repair()
    assert traces.left(root, [stopped.id]) == []
    stopped.start()


def test_a_journal_that_was_cut_off_is_no_obstacle(stopped: Instance, engine: Engine, root: Path) -> None:
    run = root / "run" / stopped.id
    run.mkdir()
    (run / "journal").write_bytes(b"\0" * 4096)
    assert engine.repair()
    assert traces.left(root, [stopped.id]) == []
    stopped.start()


@pytest.mark.guest
def test_one_that_cannot_be_repaired_now_does_not_keep_the_others_from_it(
    quick: Instance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = engine.create("busybox", "a-busy-one", config=ALONE)
    os.kill(quick.observe().monitor_pid, signal.SIGKILL)
    wait_until(lambda: quick.state is State.STUCK)
    monkeypatch.setattr("cloison.engine.instance.LOCK_PATIENCE_S", 0.1)
    with engine.driver.command(busy.id, "test"), pytest.raises(Busy):
        Engine(engine.layout).repair()
    assert str(quick.state) == "stopped"


DEATHS = {
    "create": """
from cloison.engine import records
records.claim_name = lambda *_: os.kill(os.getpid(), 9)
engine.create("busybox", "half", config=["nics.eth0.type=empty"])
""",
    "delete": """
from cloison.storage import trees
trees.remove = lambda *_: os.kill(os.getpid(), 9)
engine.get("quick").delete()
""",
}


@pytest.mark.parametrize("doing", DEATHS)
def test_python_killed_in_the_middle_of(stopped: Instance, engine: Engine, root: Path, doing: str) -> None:
    dying = python(f"import os, cloison\nengine = cloison.open()\n{DEATHS[doing]}")
    assert dying.wait() == -signal.SIGKILL
    assert engine.repair()
    known = {instance.id for instance in engine.instances()}
    assert {path.name for path in (root / "lib" / "instances").iterdir()} == known
    assert {path.name for path in (root / "run" / "locks").iterdir()} <= known
    assert [instance.name for instance in engine.instances()] == ([] if doing == "delete" else ["quick"])


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)


# --- wear ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The launcher that users have."""
    monkeypatch.delenv("CLOISON_LAUNCHER")
    yield


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_five_hundred_cycles_leave_the_machine_as_it_was(engine: Engine, root: Path) -> None:
    instance = engine.create("busybox", "true", config=[*ALONE, "init.command=/bin/true", "limits.memory=32M"])
    instance.start()
    instance.wait(20)
    before = photograph(root)
    for _ in range(500):
        instance.start()
        assert instance.wait(20)
    assert photograph(root) == before
    assert traces.left(root, [instance.id]) == []
    assert cloison.open(str(root)).get("true").state is State.STOPPED


def photograph(root: Path) -> dict[str, object]:
    """What must not grow: mounts, control groups, this process's descriptors and children. Others may mount, too."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "mounts": [line for line in mounts if str(root) in line or "cloison" in line],
        "cgroups": [sorted(os.listdir(top)) for top in traces.cgroup_tops()],
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "children": traces.children(os.getpid()),
    }
