"""Copies of instances, and instances that are deleted when they end."""

import os
import signal
import time
from pathlib import Path

import pytest

from cloison import Engine, Exists, Instance, Invalid, NotFound, State
from tests.integration.conftest import ALONE, QUICK, Cli, eventually, init_of, inside, refused
from tests.integration.storage.conftest import mounted
from tests.integration.storage.test_snapshots import add_pool, names, trees, write

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


def gone(engine: Engine, name: str) -> bool:
    return name not in [each.name for each in engine.instances()]


# --- copies ---------------------------------------------------------------------------------------------------------


def test_a_copy_of_what_runs_has_its_files_and_is_somebody_else(engine: Engine, quick: Instance) -> None:
    write(quick, "/root/a", "one")
    write(quick, "/etc/machine-id", "0123456789abcdef0123456789abcdef")
    copy = engine.copy("quick", "copy")
    assert quick.state is State.RUNNING
    copy.start()
    assert inside(copy, "cat", "/root/a") == "one\n"
    assert inside(copy, "cat", "/etc/hostname") == "copy\n"
    assert inside(copy, "cat", "/etc/machine-id") == ""
    assert inside(quick, "cat", "/etc/machine-id") != ""
    write(copy, "/root/a", "two")
    assert inside(quick, "cat", "/root/a") == "one\n"
    maps = [Path(f"/proc/{init_of(each)}/uid_map").read_text().split()[1] for each in (quick, copy)]
    assert maps[0] != maps[1]
    owner = [os.stat(f"/proc/{init_of(each)}/root/root/a").st_uid for each in (quick, copy)]
    assert [str(each) for each in owner] == maps


def test_a_copy_of_what_is_stopped_shares_its_files(engine: Engine, quick: Instance) -> None:
    inside(quick, "sh", "-c", "dd if=/dev/zero of=/root/big bs=1M count=20")
    quick.stop()
    copy = engine.copy("quick", "copy")
    assert copy.info(with_disk=True).disk_bytes is not None
    below = set(copy.record.tree.lower) if copy.record.tree else set()
    assert below & set(quick._engine.get("quick").record.tree.lower)  # type: ignore[union-attr]
    copy.start()
    assert inside(copy, "stat", "-c", "%s", "/root/big") == f"{20 << 20}\n"
    quick.delete()
    assert inside(copy, "stat", "-c", "%s", "/root/big") == f"{20 << 20}\n"
    copy.delete(force=True)
    assert trees(engine) == set()


def test_snapshots_come_along_and_are_its_own(engine: Engine, stopped: Instance) -> None:
    stopped.snapshots.create("one")
    copy = engine.copy("quick", "copy")
    alone = engine.copy("quick", "alone", is_alone=True)
    assert (names(copy), names(alone)) == (["one"], [])
    stopped.delete()
    copy.snapshots.restore("one")
    copy.start()
    assert inside(copy, "cat", "/etc/hostname") == "copy\n"
    copy.stop()


def test_a_copy_begins_at_a_snapshot(engine: Engine, quick: Instance) -> None:
    write(quick, "/root/a", "then")
    quick.snapshots.create("one")
    write(quick, "/root/a", "now")
    copy = engine.copy("quick/one", "copy", config=("limits.processes=77",))
    copy.start()
    assert inside(copy, "cat", "/root/a") == "then\n"
    assert copy.get("limits.processes") == "77"
    assert names(copy) == []


def test_what_only_one_can_have_stays_behind(engine: Engine, cli: Cli) -> None:
    engine.networks.create("lan", ("ipv4=10.78.9.1/24", "ipv6=none"))
    own = ("nics.eth0.network=lan", "nics.eth0.addresses=10.78.9.5", "nics.eth0.mac=02:00:00:00:00:05")
    engine.create("busybox", "web", config=(*own, "ports.18080/tcp=80", "env.A=1", "boot.ephemeral=true"))
    done = cli("copy", "web", "web2")
    assert done.stdout == "web2\n"
    for key in ("nics.eth0.addresses", "nics.eth0.mac", "ports.18080/tcp", "boot.ephemeral"):
        assert key in done.stderr
    info = engine.get("web2").info()
    assert info.config == {"nics.eth0.network": "lan", "env.A": "1"}
    assert info.nics[0].addresses != engine.get("web").info().nics[0].addresses
    assert info.nics[0].mac != "02:00:00:00:00:05"


def test_a_copy_goes_to_a_pool_of_another_kind_and_back(engine: Engine, quick: Instance, tmp_path: Path) -> None:
    write(quick, "/root/a", "one")
    inside(quick, "rm", "/bin/vi") if quick.exec(["test", "-e", "/bin/vi"]).code == 0 else None
    quick.snapshots.create("one")
    write(quick, "/root/a", "two")
    with mounted("btrfs", tmp_path) as point:
        pool = add_pool(engine, "b", "btrfs", point / "pool")
        there = engine.copy("quick", "there", storage=pool)
        assert names(there) == ["one"]
        back = engine.copy("there", "back", storage="default")
        for copy in (there, back):
            copy.start()
            assert inside(copy, "cat", "/root/a") == "two\n"
            assert copy.exec(["test", "-e", "/bin/vi"]).code == 1
            copy.stop()
            copy.snapshots.restore("one")
            copy.start()
            assert inside(copy, "cat", "/root/a") == "one\n"
            copy.stop()
        there.delete()


def test_a_copy_in_another_pool_takes_its_own_space_alone(engine: Engine, stopped: Instance) -> None:
    """What came over as a stream is frozen, and where trees do not stack only led to the copy."""
    engine.pools.create("disks", "loop", size="64M")
    there = engine.copy(stopped.name, "there", storage="disks")
    assert there.tree is not None
    assert engine.pools.driver("disks").names() == (there.tree.name,)


def test_what_is_larger_than_a_pool_makes_disks_gets_the_room_that_it_has(engine: Engine) -> None:
    """As a copy, and as a stream that grows from one snapshot to the next."""
    engine.pools.create("large", "loop", size="64M")
    engine.pools.create("small", "loop", size="24M")
    box = engine.create("busybox", "box", config=QUICK, storage="large")
    box.snapshots.create("empty")
    box.set("limits.disk=96M")
    box.start()
    inside(box, "/bin/sh", "-c", "head -c 40000000 /dev/urandom > /root/f; sync")
    told = inside(box, "/bin/busybox", "md5sum", "/root/f")
    box.stop()
    box.snapshots.create("full")
    with engine.export("box", has_image=False) as chunks:
        stream = b"".join(chunks)
    for arrived in (
        engine.copy("box", "copied", storage="small"),
        engine.import_instance([stream], "imported", storage="small"),
    ):
        assert names(arrived) == ["empty", "full"]
        arrived.start()
        assert inside(arrived, "/bin/busybox", "md5sum", "/root/f") == told
        arrived.snapshots.restore("full", force=True)
        assert inside(arrived, "/bin/busybox", "md5sum", "/root/f") == told
        arrived.delete(force=True)
    assert engine.pools.driver("small").names() == ()


def test_a_copy_that_cannot_be_leaves_nothing(engine: Engine, stopped: Instance, cli: Cli) -> None:
    engine.create("busybox", "taken", config=ALONE)
    before = (trees(engine), sorted(os.listdir(engine.layout.instances)))
    for new, problem in (("taken", Exists), ("a/b", Invalid), ("", Invalid)):
        with pytest.raises(problem):
            engine.copy("quick", new)
    with pytest.raises(NotFound):
        engine.copy("quick/none", "new")
    with pytest.raises(NotFound):
        engine.copy("quick", "new", storage="nowhere")
    with pytest.raises(Invalid):
        engine.copy("quick", "new", config=("limits.memory=many",))
    refused(cli("copy", "nobody", "new"), 3, "'nobody'")
    assert (trees(engine), sorted(os.listdir(engine.layout.instances))) == before


# --- ephemeral ------------------------------------------------------------------------------------------------------


@pytest.fixture
def brief(engine: Engine) -> Instance:
    return engine.launch("busybox", "brief", config=(*QUICK, "boot.ephemeral=true"))


def test_an_ephemeral_one_is_gone_when_it_has_been_stopped(engine: Engine, brief: Instance) -> None:
    brief.stop()
    assert gone(engine, "brief")
    assert eventually(lambda: trees(engine) == set())


def test_an_ephemeral_one_that_ends_by_itself_is_deleted_by_its_monitor(engine: Engine, brief: Instance) -> None:
    directory = brief.directory
    os.kill(init_of(brief), signal.SIGTERM)
    assert eventually(lambda: gone(engine, "brief"))
    assert eventually(lambda: not os.path.exists(directory) and trees(engine) == set())


def test_an_ephemeral_one_stays_over_a_restart_and_a_reboot(engine: Engine) -> None:
    box = engine.launch("busybox", "box", config=(*ALONE, "boot.ephemeral=true"))
    write(box, "/root/a", "one")
    box.restart()
    assert inside(box, "cat", "/root/a") == "one\n"
    first = init_of(box)
    box.exec(["reboot"])
    assert eventually(lambda: box.state is State.RUNNING and init_of(box) not in (0, first))
    time.sleep(0.5)  # for who would delete it
    assert inside(box, "cat", "/root/a") == "one\n"
    box.snapshots.create("s")
    box.snapshots.restore("s", force=True)
    assert box.state is State.RUNNING
    box.stop()
    assert gone(engine, "box")


def test_one_that_shall_stay_after_all_stays(engine: Engine, brief: Instance) -> None:
    brief.set("boot.ephemeral=false")
    brief.stop()
    assert engine.get("brief").state is State.STOPPED


def test_one_that_becomes_ephemeral_while_it_is_stopped_has_to_run_first(engine: Engine, quick: Instance) -> None:
    quick.stop()
    quick.set("boot.ephemeral=true")
    engine.repair()
    quick.start()
    quick.stop()
    assert gone(engine, "quick")


def test_repair_deletes_an_ephemeral_one_whose_monitor_has_died(engine: Engine, brief: Instance, cli: Cli) -> None:
    os.kill(brief.observe().monitor_pid, signal.SIGKILL)
    assert eventually(lambda: brief.state is State.STUCK)
    cli("repair")
    assert eventually(lambda: gone(engine, "brief"))


def test_the_words_of_the_command_line(cli: Cli, engine: Engine) -> None:
    assert cli("launch", "busybox", "e", "--ephemeral", "--network", "empty").returncode == 0
    assert engine.get("e").get("boot.ephemeral") == "true"
    assert cli("copy", "e", "e2", "--ephemeral", "--instance-only").stdout == "e2\n"
    assert engine.get("e2").get("boot.ephemeral") == "true"
    assert cli("stop", "-f", "e").returncode == 0
    assert cli("info", "e").returncode == 3
