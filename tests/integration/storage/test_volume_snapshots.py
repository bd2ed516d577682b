"""Snapshots of volumes, in pools of every driver that runs here; what is in one is seen inside, or on the host."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance, State
from cloison.engine.volumes import Volume
from tests.integration.conftest import QUICK, Cli, inside, refused
from tests.integration.storage.conftest import MEBIBYTE, thin_pool

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_loop]


@pytest.fixture(params=["overlay", "dir", "btrfs", "loop", pytest.param("lvm", marks=pytest.mark.needs_lvm)])
def volume(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Volume]:
    """A volume with a file; nothing of it, or of its pool, is left at the end."""
    driver = str(request.param)
    if driver == "btrfs" and "btrfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no btrfs")
    if driver == "lvm":
        with thin_pool(tmp_path) as place:
            engine.pools.create("p", "lvm", source=place, size="64M")
            yield with_a_file(engine)
            remove_all(engine)
        return
    engine.pools.create("p", driver, size={"btrfs": "256M", "loop": "64M"}.get(driver, ""))
    yield with_a_file(engine)
    remove_all(engine)


def with_a_file(engine: Engine) -> Volume:
    volume = engine.volumes.create("data", "p")
    there = place(engine)
    (there / "f").write_text("first")
    os.chown(there / "f", 33, 34)
    return volume


def remove_all(engine: Engine) -> None:
    for instance in engine.instances():
        instance.delete(force=True)
    for volume in engine.volumes.all():
        engine.volumes.remove(volume)
    assert engine.pools.driver("p").names() == ()
    engine.pools.remove("p")


def place(engine: Engine) -> Path:
    return Path(engine.volumes.path("p", "data"))


def launch(engine: Engine, name: str) -> Instance:
    return engine.launch("busybox", name, config=[*QUICK, "mounts.m.source=p/data", "mounts.m.target=/srv"])


def test_what_was_in_it_comes_back(engine: Engine, cli: Cli, volume: Volume) -> None:
    assert cli("volume", "snapshot", "create", "p/data", "one", "--description", "the first").stdout == "one\n"
    (place(engine) / "f").write_text("second")
    (place(engine) / "g").write_text("new")
    assert cli("volume", "snapshot", "create", "p/data").stdout == "snap0\n"
    (place(engine) / "f").unlink()
    for name, found in (("one", {"f": "first"}), ("snap0", {"f": "second", "g": "new"})):
        assert cli("volume", "snapshot", "restore", "p/data", name).returncode == 0
        assert {path.name: path.read_text() for path in place(engine).iterdir()} == found
        about = (place(engine) / "f").stat()
        assert (about.st_uid, about.st_gid) == (33, 34)
        (place(engine) / "f").write_text("again")  # it is a copy: the snapshot stays as it was
    assert cli("volume", "snapshot", "restore", "p/data", "one").returncode == 0
    assert (place(engine) / "f").read_text() == "first"
    said = cli("volume", "snapshot", "ls", "p/data").stdout
    told = json.loads(cli("volume", "snapshot", "ls", "p/data", "--json").stdout)[0]
    assert set(told) == {"name", "created", "description", "was_running"}
    assert (told["name"], told["description"], told["was_running"]) == ("one", "the first", [])
    assert told["created"] in said
    assert [line.split()[0] for line in said.splitlines()] == ["NAME", "one", "snap0"] and "the first" in said
    assert cli("volume", "snapshot", "delete", "p/data", "one", "snap0").returncode == 0
    assert len(engine.pools.driver("p").names()) == 1
    box = launch(engine, "box")
    assert inside(box, "/bin/cat", "/srv/f") == "first"


def test_one_of_a_volume_in_use_has_what_was_written_before_it(engine: Engine, cli: Cli, volume: Volume) -> None:
    one, two = launch(engine, "one"), launch(engine, "two")
    inside(one, "/bin/sh", "-c", "echo written > /srv/f")
    two.freeze()
    assert cli("volume", "snapshot", "create", "p/data", "live").returncode == 0
    assert (one.state, two.state) == (State.RUNNING, State.FROZEN)  # as they were
    two.unfreeze()
    inside(two, "/bin/sh", "-c", "echo later > /srv/f")
    refused(cli("volume", "snapshot", "restore", "p/data", "live"), 4, "it is in one, two", "cloison stop one two")
    assert inside(one, "/bin/cat", "/srv/f") == "later\n"
    for each in (one, two):
        each.stop(force=True)
    assert cli("volume", "snapshot", "restore", "p/data", "live").returncode == 0
    one.start()
    assert inside(one, "/bin/cat", "/srv/f") == "written\n"


def test_they_go_where_their_volume_goes(engine: Engine, cli: Cli, volume: Volume) -> None:
    assert cli("volume", "snapshot", "create", "p/data", "one").returncode == 0
    assert cli("volume", "rename", "p/data", "other").returncode == 0
    engine.repair()  # takes nothing of it
    engine.volumes.create("data", "p")
    refused(cli("volume", "snapshot", "restore", "p/data", "one"), 3, "'data' has no snapshot 'one'")
    assert cli("volume", "snapshot", "restore", "p/other", "one").returncode == 0
    assert (Path(engine.volumes.path("p", "other")) / "f").read_text() == "first"
    refused(cli("storage", "rm", "p"), 4, "snapshots or volumes")
    assert cli("volume", "rm", "p/other", "p/data").returncode == 0
    assert engine.pools.driver("p").names() == ()
    assert [entry.key for entry in engine.store.list("volume-snapshots/")] == []


def test_a_volume_goes_to_another_pool_as_a_stream(engine: Engine, cli: Cli, volume: Volume, tmp_path: Path) -> None:
    box = launch(engine, "box")
    inside(box, "/bin/sh", "-c", "mkdir -m 1777 /srv/d; echo x > /srv/d/g; chown 1000:1000 /srv/d/g; ln -s d/g /srv/l")
    assert cli("volume", "snapshot", "create", "p/data", "one").returncode == 0
    inside(box, "/bin/sh", "-c", "rm -r /srv/d")
    out, was = str(tmp_path / "now"), str(tmp_path / "then")
    assert cli("volume", "export", "p/data", out).returncode == 0
    assert cli("volume", "export", "p/data", was, "--snapshot", "one").returncode == 0
    refused(cli("volume", "export", "p/data", out), 4, "there is a file")
    assert cli("volume", "import", out, "now").returncode == 0
    assert cli("volume", "import", was, "p/then").returncode == 0
    now, then = Path(engine.volumes.path("", "now")), Path(engine.volumes.path("p", "then"))
    assert sorted(os.listdir(now)) == ["f", "l"] and sorted(os.listdir(then)) == ["d", "f", "l"]
    about = (then / "d/g").stat()
    assert (about.st_uid, (then / "d").stat().st_mode & 0o7777, os.readlink(then / "l")) == (1000, 0o1777, "d/g")
    (then / "f").write_text("may be written to")
    before = engine.pools.driver("p").names()
    assert len(before) == 3  # two volumes and a snapshot, and nothing that only led to them
    refused(cli("volume", "import", out, "now"), 4, "already a volume 'now'")
    Path(out).write_bytes(Path(out).read_bytes()[:-40])
    refused(cli("volume", "import", out, "p/broken"), 2, "damaged")
    assert engine.pools.driver("p").names() == before
    assert [each.name for each in engine.volumes.all()] == ["now", "data", "then"]


def test_names_that_cannot_be_are_refused_and_nothing_is_made(engine: Engine, cli: Cli, volume: Volume) -> None:
    assert cli("volume", "snapshot", "create", "p/data", "one").returncode == 0
    before = engine.pools.driver("p").names()
    refused(cli("volume", "snapshot", "create", "p/data", "one"), 4, "has a snapshot 'one' already")
    refused(cli("volume", "snapshot", "create", "p/data", "a/b"), 2, "no name for a snapshot")
    refused(cli("volume", "snapshot", "create", "p/none", "one"), 3, "no volume 'none'")
    refused(cli("volume", "snapshot", "restore", "p/data", "none"), 3, "no snapshot 'none'", "volume snapshot ls")
    refused(cli("volume", "snapshot", "delete", "p/data", "none"), 3, "no snapshot 'none'")
    assert engine.pools.driver("p").names() == before


def test_a_volume_keeps_its_limit_when_it_comes_back(engine: Engine, volume: Volume) -> None:
    if engine.pools.driver("p").abilities.quota:
        pytest.skip("the file system of this test has no project quotas")
    kept = engine.volumes.set(volume, size_bytes=32 * MEBIBYTE)
    engine.volume_snapshots(kept).create("one")
    engine.volume_snapshots(kept).restore("one")
    box = launch(engine, "box")
    full = box.exec(["/bin/sh", "-c", "dd if=/dev/urandom of=/srv/big bs=1M count=40 && sync"])
    assert full.code != 0 and (b"No space" in full.stderr or b"uota exceeded" in full.stderr)
