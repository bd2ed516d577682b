"""Snapshots of instances: what is in them, how one goes back, and what is refused."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cloison import CloisonError, Engine, Exists, Instance, Invalid, NoSpace, NotFound, State, WrongState
from cloison.engine import snapshot_records
from cloison.engine.pools import POOLS, Pool
from cloison.storage.overlay import OverlayDriver
from tests.integration.conftest import QUICK, Cli, Launch, eventually, inside, refused
from tests.integration.storage.conftest import mounted

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
KINDS = ("overlay", "btrfs", "dir", "loop")


def add_pool(engine: Engine, name: str, kind: str, source: Path) -> str:
    """A pool of a kind, in a directory."""
    with engine.store.transaction() as changes:
        changes.put(f"{POOLS}{name}", msgspec.json.encode(Pool(name, kind, str(source), options={"size": "256M"})))
    return name


@pytest.fixture(params=KINDS)
def box(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Instance]:
    """A running container whose files are in a pool of each kind."""
    kind = request.param
    if kind == "overlay":
        yield engine.launch("busybox", "box", config=QUICK)
        return
    if kind == "btrfs":
        with mounted("btrfs", tmp_path) as point:
            yield engine.launch("busybox", "box", config=QUICK, storage=add_pool(engine, "p", kind, point / "pool"))
            engine.get("box").delete(force=True)
        return
    yield engine.launch("busybox", "box", config=QUICK, storage=add_pool(engine, "p", kind, tmp_path / "pool"))


def write(instance: Instance, path: str, text: str) -> None:
    inside(instance, "sh", "-c", f"echo {text} > {path}")


def names(instance: Instance) -> list[str]:
    return [each.name for each in instance.snapshots.list()]


def trees(engine: Engine) -> set[str]:
    return set(engine.pools.driver("default").names())


def test_a_running_one_goes_back_to_what_it_was(box: Instance) -> None:
    write(box, "/root/a", "one")
    box.snapshots.create("first", description="as it was")
    assert box.state is State.RUNNING
    write(box, "/root/a", "two")
    inside(box, "rm", "-r", "/etc/init.d") if box.exec(["test", "-d", "/etc/init.d"]).code == 0 else None
    write(box, "/root/b", "new")
    box.snapshots.restore("first", force=True)
    assert box.state is State.RUNNING
    assert inside(box, "cat", "/root/a") == "one\n"
    assert box.exec(["test", "-e", "/root/b"]).code == 1
    assert names(box) == ["first"]


def test_a_stopped_one_goes_back_and_again_forward(box: Instance) -> None:
    box.stop()
    box.snapshots.create("empty")
    box.start()
    write(box, "/root/a", "one")
    box.stop()
    box.snapshots.restore("empty")
    assert names(box) == ["empty", "pre-restore"]
    box.snapshots.restore("pre-restore")  # nobody has started it: nothing is lost
    assert names(box) == ["empty", "pre-restore", "pre-restore-2"]
    box.start()
    assert inside(box, "cat", "/root/a") == "one\n"
    assert names(box) == ["empty"]


def test_what_differs_is_told(box: Instance) -> None:
    write(box, "/root/a", "one")
    write(box, "/root/gone", "x")
    box.snapshots.create("old")
    inside(box, "sh", "-c", "echo longer >> /root/a; rm /root/gone; mkdir /root/d; echo 1 > /root/d/f")
    box.snapshots.create("new")
    expected = {("/root/a", "changed"), ("/root/gone", "removed"), ("/root/d", "added"), ("/root/d/f", "added")}
    assert expected <= {(each.path, each.what) for each in box.snapshots.diff("old")}
    found = {(each.path, each.what) for each in box.snapshots.diff("old", "new")}
    assert {each for each in found if each[0].startswith("/root/")} == expected
    assert box.state is State.RUNNING
    box.stop()
    assert expected <= {(each.path, each.what) for each in box.snapshots.diff("old")}
    assert box.snapshots.diff("new", "new") == ()


def test_its_configuration_goes_back_too(quick: Instance) -> None:
    quick.set("limits.processes=50", "env.A=1")
    quick.snapshots.create("one")
    quick.stop()
    quick.set("limits.processes=60", "env.A=")
    quick.snapshots.restore("one", keep_config=True)
    assert (quick.get("limits.processes"), quick.get("env.A")) == ("60", "")
    quick.snapshots.restore("one")
    assert (quick.get("limits.processes"), quick.get("env.A")) == ("50", "1")


def test_a_restore_after_a_rename_knows_its_new_name(quick: Instance) -> None:
    quick.snapshots.create("one")
    quick.stop()
    quick.rename("other")
    quick.snapshots.restore("one")
    quick.start()
    assert inside(quick, "cat", "/etc/hostname") == "other\n"
    assert names(quick) == ["one"]


def test_an_address_that_another_has_taken_meanwhile_is_named(engine: Engine) -> None:
    engine.networks.create("lan", ("ipv4=10.77.9.1/24", "ipv6=none"))
    first = engine.create("busybox", "first", config=("nics.eth0.network=lan", "nics.eth0.addresses=10.77.9.5"))
    first.snapshots.create("one")
    first.set("nics.eth0.addresses=10.77.9.6")
    second = engine.create("busybox", "second", config=("nics.eth0.network=lan", "nics.eth0.addresses=10.77.9.5"))
    with pytest.raises(Exists, match=r"10\.77\.9\.5.*'second' has") as caught:
        first.snapshots.restore("one")
    assert "--keep-config" in caught.value.hint
    assert names(first) == ["one"]
    assert first.get("nics.eth0.addresses") == "10.77.9.6"
    first.snapshots.restore("one", keep_config=True)
    second.delete()
    first.snapshots.restore("one")
    assert first.get("nics.eth0.addresses") == "10.77.9.5"


def test_a_snapshot_of_a_stopped_one_copies_nothing_and_goes_with_the_last_that_mentions_it(
    engine: Engine, stopped: Instance
) -> None:
    before = trees(engine)
    stopped.snapshots.create("a")
    stopped.snapshots.create("b")
    assert len(trees(engine)) == len(before) + 2
    stopped.snapshots.delete("a")
    assert names(stopped) == ["b"]
    stopped.delete()
    assert trees(engine) == set()


def test_who_was_frozen_by_his_user_stays_frozen(quick: Instance) -> None:
    quick.freeze()
    quick.snapshots.create("cold")
    assert quick.state is State.FROZEN
    quick.unfreeze()


@pytest.mark.parametrize("broken", [NoSpace("the disk is full"), OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_what_cannot_be_restored_runs_on(
    engine: Engine, quick: Instance, monkeypatch: pytest.MonkeyPatch, broken: BaseException
) -> None:
    quick.snapshots.create("one")
    before = trees(engine)

    def clone(*_: object, **__: object) -> None:
        raise broken

    monkeypatch.setattr(OverlayDriver, "clone", clone)
    with pytest.raises(type(broken)):
        quick.snapshots.restore("one", force=True)
    assert quick.state is State.RUNNING
    assert names(quick) == ["one"] and trees(engine) == before


def test_names_are_chosen_where_none_is_said(stopped: Instance) -> None:
    assert [stopped.snapshots.create().name for _ in range(3)] == ["snap0", "snap1", "snap2"]
    stopped.snapshots.delete("snap1")
    assert stopped.snapshots.create().name == "snap1"


def test_what_cannot_be_is_refused_and_changes_nothing(engine: Engine, quick: Instance) -> None:
    quick.snapshots.create("one")
    before = trees(engine)
    with pytest.raises(Exists, match="'quick' has a snapshot 'one' already"):
        quick.snapshots.create("one")
    for name in ("a/b", "..", "", "a b", "-x", "x" * 64):
        with pytest.raises(Invalid if name else NotFound, match="snapshot"):
            quick.snapshots.create(name) if name else quick.snapshots.restore(name, force=True)
    with pytest.raises(NotFound, match="no snapshot 'two'"):
        quick.snapshots.restore("two", force=True)
    with pytest.raises(WrongState, match="it is running") as caught:
        quick.snapshots.restore("one")
    assert "--force" in caught.value.hint
    assert quick.state is State.RUNNING
    quick.snapshots.create("two")
    with pytest.raises(Exists):
        quick.snapshots.rename("one", "two")
    with pytest.raises(Invalid):
        quick.snapshots.rename("one", "../two")
    quick.snapshots.delete("two")
    assert names(quick) == ["one"]
    assert trees(engine) == before


def test_an_image_stays_while_a_snapshot_needs_it(engine: Engine, stopped: Instance) -> None:
    stopped.snapshots.create("one")
    with pytest.raises(CloisonError, match="in use"):
        engine.remove_image("busybox")


# --- death ----------------------------------------------------------------------------------------------------------


def killed_while_holding(root: Path, name: str) -> None:
    """A process of its own holds an instance still, and is killed."""
    script = (
        "import sys, time, cloison\n"
        "from cloison.engine import holding\n"
        f"engine = cloison.open({str(root)!r})\n"
        f"instance = engine.get({name!r})\n"
        "with instance.command('hold'), holding.held(engine, instance.record, instance.observe()):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)


def test_who_is_killed_while_he_holds_one_leaves_it_to_the_next_command(root: Path, quick: Instance) -> None:
    killed_while_holding(root, "quick")
    assert str(quick.state) == "frozen"
    quick.set("env.A=1")
    assert quick.state is State.RUNNING
    assert not os.path.exists(f"{quick.directory}/held")


def test_repair_lets_one_go_on_that_was_left_held(root: Path, quick: Instance, cli: Cli) -> None:
    killed_while_holding(root, "quick")
    done = cli("repair")
    assert "quick" in done.stdout
    assert quick.state is State.RUNNING
    assert inside(quick, "echo", "on") == "on\n"


def test_what_was_held_in_an_earlier_run_is_not_thawed_in_this_one(root: Path, quick: Instance) -> None:
    killed_while_holding(root, "quick")
    quick.stop(force=True)
    quick.start()
    quick.freeze()
    assert quick.state is State.FROZEN
    quick.set("env.A=1")
    assert quick.state is State.FROZEN
    quick.unfreeze()


# --- what was acknowledged is there ----------------------------------------------------------------------------------

RECORDS = """
i=0
while :; do
    i=$((i+1))
    echo $i >> /root/records
    sync /root/records 2>/dev/null || sync
    echo $i
done
"""


def test_every_record_that_was_acknowledged_is_in_a_snapshot_of_what_runs(box: Instance) -> None:
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    try:
        with box.spawn(["sh", "-c", RECORDS], stdio=(null, writer, null)) as execution:
            os.close(writer)
            said = b""
            while said.count(b"\n") < 50:
                said += os.read(reader, 4096)
            os.set_blocking(reader, False)
            kept = []
            for number in range(3):
                try:
                    while piece := os.read(reader, 65536):
                        said += piece
                except BlockingIOError:
                    pass
                acknowledged = int(said.rpartition(b"\n")[0].rpartition(b"\n")[2])
                box.snapshots.create(f"s{number}")
                kept.append(acknowledged)
                time.sleep(0.1)
            execution.signal(9)
    finally:
        os.close(reader)
        os.close(null)
    box.stop()
    for number, acknowledged in enumerate(kept):
        box.snapshots.restore(f"s{number}")
        box.start()
        found = inside(box, "cat", "/root/records").split()
        assert found == [str(each) for each in range(1, len(found) + 1)]
        assert len(found) >= acknowledged >= 50
        box.stop()


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_does_all_of_it(cli: Cli, launch: Launch) -> None:
    web = launch(*QUICK)
    assert cli("snapshot", "create", "web", "one", "--description", "my first", "--expires", "7d").stdout == "one\n"
    write(web, "/root/a", "1")
    assert "added    /root/a\n" in cli("snapshot", "diff", "web", "one").stdout
    listed = msgspec.json.decode(cli("snapshot", "ls", "--json").stdout)
    assert [(each["name"], each["description"], each["was_running"]) for each in listed] == [("one", "my first", True)]
    assert listed[0]["expires"] > listed[0]["created"]
    assert "my first" in cli("snapshot", "info", "web", "one").stdout
    refused(cli("snapshot", "restore", "web", "one"), 4, "it is running", "--force")
    assert cli("snapshot", "restore", "--force", "web", "one").returncode == 0
    assert web.exec(["test", "-e", "/root/a"]).code == 1
    assert cli("snapshot", "rename", "web", "one", "two").returncode == 0
    refused(cli("snapshot", "delete", "web", "one"), 3, "no snapshot 'one'")
    refused(cli("snapshot", "create", "web", "a/b"), 2, "no name for a snapshot")
    refused(cli("snapshot", "create", "nobody"), 3, "'nobody'")
    assert cli("snapshot", "delete", "web", "two").returncode == 0
    assert cli("snapshot", "ls", "web", "--json").stdout.strip() == "[]"


def test_a_snapshot_waits_for_nobody_who_only_looks(quick: Instance) -> None:
    quick.snapshots.create("one")
    assert eventually(lambda: quick.info().state is State.RUNNING)
    assert snapshot_records.load_all(quick._engine.store, quick.id)[0].was_running
