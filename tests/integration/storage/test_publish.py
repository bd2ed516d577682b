"""Images of instances, instances that begin anew, and snapshots that a timer asks for."""

import os
import threading
import time
from pathlib import Path

import pytest

import cloison
from cloison import Engine, Exists, Instance, Invalid, NotFound, State, WrongState
from cloison.engine import due, snapshot_records
from cloison.engine.store import Store
from tests.integration.conftest import Cli, inside, refused
from tests.integration.storage.conftest import mounted
from tests.integration.storage.test_snapshots import add_pool, names, trees, write
from tests.integration.storage.test_transfer import INIT

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
HOUR_NS = 3600 * 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An installation with an image store of its own, as images are made."""
    root = tmp_path / "root"
    cloison.open(str(root)).image("busybox")
    return root


@pytest.fixture
def box(engine: Engine) -> Instance:
    return engine.launch("busybox", "box", config=INIT)


@pytest.mark.parametrize("kind", ["overlay", "btrfs", "loop"])
def test_an_image_of_an_instance_is_what_that_was(engine: Engine, tmp_path: Path, kind: str) -> None:
    with mounted("btrfs", tmp_path) as point:
        pool = "default" if kind == "overlay" else add_pool(engine, "p", kind, point / "pool")
        box = engine.launch("busybox", "box", config=INIT, storage=pool)
        write(box, "/root/a", "one")
        write(box, "/etc/machine-id", "0123456789abcdef0123456789abcdef")
        inside(box, "rm", "/etc/shadow")
        box.snapshots.create("then")
        write(box, "/root/a", "two")
        box.stop(force=True)
        now = engine.publish("box", "box/now", description="what it was")
        then = engine.publish("box/then", "box/then")
        box.delete()
        for image, text in ((now, "two"), (then, "one")):
            made = engine.launch(image.names[0], "made", config=INIT)
            assert inside(made, "cat", "/root/a") == f"{text}\n"
            assert made.exec(["test", "-e", "/etc/shadow"]).code == 1
            assert inside(made, "cat", "/etc/hostname", "/etc/machine-id") == "made\n"
            made.delete(force=True)
    assert (now.os, now.properties["description"], now.source) == ("busybox", "what it was", "published from box")
    assert trees(engine) == set()


def test_an_image_of_what_runs_takes_force_and_goes_on(engine: Engine, box: Instance, cli: Cli) -> None:
    refused(cli("publish", "box", "--name", "mine"), 4, "it is running", "--force")
    assert cli("publish", "box", "--name", "mine", "--force").stdout == "mine\n"
    assert box.state is State.RUNNING
    refused(cli("publish", "box", "--name", "mine", "--force"), 4, "an image 'mine' already")
    refused(cli("publish", "box/none", "--name", "other"), 3, "no snapshot 'none'")
    assert cli("image", "verify").returncode == 0
    for name in ("../x", "", "a b"):
        with pytest.raises(Invalid):
            engine.publish("box", name, force=True)


def test_the_same_files_give_the_same_image(engine: Engine, box: Instance) -> None:
    box.snapshots.create("s")
    assert engine.publish("box/s", "a").layers == engine.publish("box/s", "b").layers


def test_it_begins_anew_and_keeps_what_is_not_its_root(engine: Engine, box: Instance) -> None:
    write(box, "/root/a", "one")
    box.snapshots.create("s")
    engine.publish("box/s", "mine")
    write(box, "/root/b", "two")
    box.set("env.A=1")
    id_base = box.record.id_base
    with pytest.raises(WrongState, match="it is running"):
        engine.rebuild("box")
    with pytest.raises(Invalid):
        engine.rebuild("box", "nothing/of/that", force=True)
    assert box.state is State.RUNNING
    engine.rebuild("box", "mine", force=True)
    box.reload()
    assert (box.state, box.get("env.A"), box.record.id_base) == (State.RUNNING, "1", id_base)
    assert inside(box, "cat", "/root/a", "/etc/hostname") == "one\nbox\n"
    assert box.exec(["test", "-e", "/root/b"]).code == 1
    assert names(box) == ["s"]
    box.stop(force=True)
    engine.rebuild("box", "busybox")
    assert names(box) == ["s", "pre-rebuild"]
    box.snapshots.restore("pre-rebuild")
    box.start()
    assert inside(box, "cat", "/root/a") == "one\n"
    assert names(box) == ["s"]


# --- schedules -------------------------------------------------------------------------------------------------------


def test_what_is_due_is_made_once(engine: Engine, box: Instance, cli: Cli) -> None:
    box.set("snapshots.schedule=@hourly", "snapshots.expiry=90m", "snapshots.pattern=auto-%H%M")
    now = time.time_ns()
    assert [each.what for each in due.run(engine, now + HOUR_NS)] == ["made"]
    assert due.run(engine, now + HOUR_NS) == ()
    (made,) = box.snapshots.list()
    assert (made.name[:5], made.scheduled, made.expires is not None) == ("auto-", True, True)
    box.snapshots.delete(made.name)
    assert due.run(engine, now + HOUR_NS) == ()  # who has deleted it does not want it again
    assert len(due.run(engine, now + 5 * HOUR_NS)) == 1  # once, for all that were missed
    assert cli("snapshot", "run-due").stdout == ""
    later = due.run(engine, now + 7 * HOUR_NS)
    assert [each.what for each in later] == ["expired", "made"]
    assert len(names(box)) == 1


def test_what_is_stopped_waits_unless_told_otherwise(engine: Engine, box: Instance) -> None:
    box.set("snapshots.schedule=@hourly")
    box.stop(force=True)
    now = time.time_ns() + HOUR_NS
    assert due.run(engine, now) == ()
    box.set("snapshots.stopped=true")
    assert len(due.run(engine, now)) == 1


def test_two_timers_at_once_make_one(engine: Engine, box: Instance) -> None:
    box.set("snapshots.schedule=@hourly")
    now = time.time_ns() + HOUR_NS
    done: list[int] = []
    others = [threading.Thread(target=lambda: done.append(len(due.run(engine, now)))) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert sorted(done) == [0, 0, 0, 1]
    assert len(names(box)) == 1


def test_two_timers_at_once_delete_one(engine: Engine, box: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    box.snapshots.create("old", expires_s=1)
    box.snapshots.create("older", expires_s=1)
    listed = snapshot_records.load_all

    def overtaken(store: Store, instance_id: str) -> tuple[snapshot_records.SnapshotRecord, ...]:
        """What was there until another timer had its turn."""
        found = listed(store, instance_id)
        monkeypatch.undo()
        box.snapshots.delete("old")
        return found

    monkeypatch.setattr(snapshot_records, "load_all", overtaken)
    assert [each.name for each in due.run(engine, time.time_ns() + HOUR_NS)] == ["older"]
    assert names(box) == []


def test_one_that_fails_does_not_keep_others_from_their_turn(engine: Engine, box: Instance) -> None:
    for name in ("a", "b"):
        engine.create("busybox", name, config=(*INIT, "snapshots.schedule=@hourly", "snapshots.stopped=true"))
    os.rename(trees_of(engine, "a"), f"{trees_of(engine, 'a')}.away")
    told: list[str] = []
    with pytest.raises(NotFound):
        due.run(engine, time.time_ns() + HOUR_NS, lambda each: told.append(each.instance))
    assert len(names(engine.get("b"))) == 1
    assert told == ["b"]
    os.rename(f"{trees_of(engine, 'a')}.away", trees_of(engine, "a"))
    with pytest.raises(Exists):
        engine.create("busybox", "a")


def trees_of(engine: Engine, name: str) -> str:
    return f"{engine.layout.data}/storage/default/trees/{engine.get(name).tree.name}/upper"
