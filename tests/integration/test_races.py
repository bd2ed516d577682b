"""Several processes at the same container: one wins, the others are told so, and the state is right afterwards."""

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloison import Busy, CloisonError, Engine, Exists, Instance, NotFound, State, WrongState
from tests.integration import traces
from tests.integration.conftest import ALONE, QUICK

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(300)]

TURMOIL = """
import random, sys
import cloison
engine = cloison.open()
random.seed(sys.argv[1])
done = {"start": 0, "stop": 0}
for _ in range(int(sys.argv[2])):
    what = random.choice(["start", "stop"])
    try:
        quick = engine.get("quick")
        quick.start() if what == "start" else quick.stop(force=True)
        done[what] += 1
    except (cloison.Busy, cloison.WrongState) as refused:
        assert str(refused)
print(done["start"], done["stop"])
"""
END = """
import sys
import cloison
try:
    cloison.open().get("quick").delete(force=True)
    print("deleted")
except (cloison.NotFound, cloison.Busy, cloison.WrongState) as refused:
    print(refused.code)
"""


def at_once(script: str, count: int, *words: str) -> list[str]:
    """Run `count` processes of a script together; what each printed."""
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(n), *words], stdout=subprocess.PIPE, text=True)
        for n in range(count)
    ]
    said = [process.communicate()[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * count
    return said


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5])
def test_processes_that_start_and_stop_together(stopped: Instance, root: Path, count: int) -> None:
    said = at_once(TURMOIL, count, "60")
    starts, stops = (sum(int(line.split()[n]) for line in said) for n in (0, 1))
    is_running = stopped.state is State.RUNNING
    assert starts > 0
    assert starts - stops <= 1, "every start but the last was stopped again"
    assert stopped.state in (State.RUNNING, State.STOPPED)
    if is_running:
        stopped.stop(force=True)
    assert traces.left(root, [stopped.id]) == []


@pytest.mark.parametrize("is_running", [True, False])
def test_of_several_deletions_one_wins(stopped: Instance, engine: Engine, root: Path, is_running: bool) -> None:  # noqa: FBT001
    if is_running:
        stopped.start()
    said = at_once(END, 4)
    assert said.count("deleted") == 1
    assert set(said) <= {"deleted", "not-found", "busy", "wrong-state"}
    assert engine.instances() == ()
    assert traces.left(root, [stopped.id]) == []
    assert list((root / "lib" / "instances").iterdir()) == []


def test_of_several_creations_of_one_name_one_wins(engine: Engine) -> None:
    def create(_: int) -> str:
        try:
            return engine.create("busybox", "one", config=ALONE).id
        except Exists as refused:
            return refused.code

    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(create, range(8)))
    (winner,) = engine.instances()
    assert sorted(said) == sorted([winner.id, *["exists"] * 7])


def test_instances_that_are_made_together_share_no_id(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: engine.create("busybox", f"c{n}", config=ALONE), range(24)))
    bases = sorted(instance.info().idmap[0].host for instance in made)
    assert all(later - earlier >= 65536 for earlier, later in itertools.pairwise(bases))


def test_threads_of_one_process_use_one_engine(engine: Engine) -> None:
    def live(number: int) -> bytes:
        web = engine.launch("busybox", f"t{number}", config=QUICK)
        said = web.exec(["hostname"]).stdout
        web.stop()
        web.delete()
        return said

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(live, range(12))) == [f"t{n}\n".encode() for n in range(12)]


def test_of_two_starts_at_once_one_is_refused_in_words(stopped: Instance, engine: Engine) -> None:
    def start(_: int) -> str:
        try:
            engine.get("quick").start()
        except (Busy, WrongState) as refused:
            return refused.code
        return "started"

    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(start, range(4)))
    assert said.count("started") == 1
    assert stopped.state is State.RUNNING


def test_who_comes_after_a_deletion_is_told_that_it_is_gone(stopped: Instance, engine: Engine) -> None:
    late = engine.get("quick")
    stopped.delete()
    for change in (late.start, late.delete, lambda: late.set("limits.memory=64M")):
        with pytest.raises(NotFound, match="quick"):
            change()
    with pytest.raises(CloisonError):
        late.stop()
    assert os.listdir(engine.layout.instances) == []


@pytest.mark.parametrize("setting", ["limits.processes=70", "limits.rlimits.core=0"])
def test_an_instance_that_ends_while_it_is_changed_is_changed_for_its_next_start(
    quick: Instance, engine: Engine, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    end_before_the_change(quick, engine, monkeypatch)
    quick.set(setting)
    assert quick.get(setting.partition("=")[0]) == setting.partition("=")[2]
    assert quick.state is State.STOPPED


def test_a_live_change_of_what_ends_meanwhile_says_that_it_is_stopped(
    quick: Instance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_before_the_change(quick, engine, monkeypatch)
    with pytest.raises(WrongState, match="cannot be changed live: it is stopped"):
        quick.set("limits.processes=70", scope="live")
    assert quick.get("limits.processes") == ""


def end_before_the_change(instance: Instance, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end comes between the look at it and the change of its limits."""
    change = engine.driver.set_limits

    def late(*what: object) -> None:
        monkeypatch.undo()
        instance.kill()
        assert instance.wait(30)
        change(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.driver, "set_limits", late)
