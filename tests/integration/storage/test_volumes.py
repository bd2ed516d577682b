"""Volumes: files that outlive instances, and that several have at once."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloison import Busy, Engine, Exists, Instance, Invalid, NotFound, Unsupported
from cloison.engine import mounts
from tests.integration.conftest import QUICK, Cli, eventually, refused


@pytest.fixture(autouse=True)
def clean(engine: Engine) -> Iterator[None]:
    """Nothing is left of a test's volumes."""
    yield
    for instance in engine.instances():
        instance.delete(force=True)
    for volume in engine.volumes.all():
        engine.volumes.remove(volume)
        assert volume.tree.name not in engine.pools.driver(volume.pool).names()


def sh(instance: Instance, script: str) -> str:
    done = instance.exec(["sh", "-c", script])
    assert done.code == 0, done
    return done.stdout.decode().strip()


def with_volume(
    engine: Engine, name: str, *settings: str, volume: str = "data", config: tuple[str, ...] = ()
) -> Instance:
    words = [f"mounts.m.{word}" for word in (f"source={volume}", "target=/srv", *settings)]
    return engine.launch("busybox", name, config=[*QUICK, *config, *words])


def test_a_volume_outlives_its_instances(engine: Engine) -> None:
    engine.volumes.create("data")
    first = with_volume(engine, "first")
    sh(first, "echo kept > /srv/f; chown 33:34 /srv/f")
    first.delete(force=True)
    second = with_volume(engine, "second")
    assert sh(second, "cat /srv/f; stat -c '%u %g' /srv/f") == "kept\n33 34"


def test_two_instances_see_each_others_writes_with_the_right_owners(engine: Engine) -> None:
    volume = engine.volumes.create("data")
    one, two = with_volume(engine, "one"), with_volume(engine, "two")
    assert one.record.id_base != two.record.id_base
    sh(one, "echo one > /srv/a; chown 1000:1000 /srv/a; mkdir /srv/d")
    assert sh(two, "cat /srv/a; stat -c '%u %g' /srv/a /srv/d") == "one\n1000 1000\n0 0"
    sh(two, "echo two >> /srv/a; rmdir /srv/d")
    assert sh(one, "cat /srv/a; ls /srv") == "one\ntwo\na"
    found = os.stat(f"{engine.volumes.path(volume.pool, 'data')}/a")
    assert (found.st_uid, found.st_gid) == (1000, 1000)  # unshifted on the host
    third = with_volume(engine, "third", config=("security.privileged=true",))
    assert sh(third, "stat -c %u /srv/a") == "1000"


def test_one_may_have_it_read_only_that_another_writes_to(engine: Engine) -> None:
    engine.volumes.create("data")
    writer, reader = with_volume(engine, "writer"), with_volume(engine, "reader", "ro=true")
    sh(writer, "echo x > /srv/f")
    assert sh(reader, "cat /srv/f") == "x"
    assert reader.exec(["sh", "-c", "echo y > /srv/f"]).code != 0
    assert reader.exec(["sh", "-c", "mount -o remount,bind,rw /srv && echo y > /srv/f"]).code != 0
    assert sh(writer, "cat /srv/f") == "x"


def test_a_volume_is_plugged_in_and_out_while_both_run(cli: Cli, engine: Engine) -> None:
    assert cli("volume", "create", "data", "--description", "of all").returncode == 0
    one, two = (engine.launch("busybox", name, config=QUICK) for name in ("one", "two"))
    for name in ("one", "two"):
        assert cli("mount", "add", name, "m", "source=data", "target=/srv").returncode == 0
    sh(one, "echo x > /srv/f")
    assert sh(two, "cat /srv/f") == "x"
    assert "one, two" in cli("volume", "ls").stdout
    assert cli("mount", "remove", "one", "m").returncode == 0
    assert sh(one, "ls /srv") == ""
    assert sh(two, "cat /srv/f") == "x"


def test_a_volume_in_use_is_not_removed_and_says_by_whom(cli: Cli, engine: Engine) -> None:
    volume = engine.volumes.create("data")
    box = with_volume(engine, "box")
    refused(cli("volume", "rm", "data"), 4, "in use by box")
    refused(cli("volume", "rename", "data", "other"), 4, "in use by box")
    box.mounts.remove("m", scope="next-start")
    refused(cli("volume", "rm", "data"), 4, "in use by box")  # it is still mounted
    box.stop(force=True)
    box.set("boot.own_clock=false")
    path = Path(engine.volumes.path("", "data"))
    box.start()
    assert cli("volume", "rm", "data").returncode == 0
    assert not path.exists()
    assert volume.tree.name not in engine.pools.driver("default").names()


def test_what_an_instance_leaves_is_not_its_volume(engine: Engine) -> None:
    """Neither deletion nor the collection of what nobody mentions takes a volume."""
    engine.volumes.create("data")
    box = with_volume(engine, "box")
    sh(box, "echo x > /srv/f")
    box.delete(force=True)
    engine.pools.collect("default")
    engine.repair()
    assert Path(f"{engine.volumes.path('', 'data')}/f").read_text() == "x\n"


def test_a_volume_is_renamed_with_all_that_is_in_it(engine: Engine) -> None:
    volume = engine.volumes.create("data")
    Path(f"{engine.volumes.path('', 'data')}/f").write_text("x")
    engine.volumes.rename(volume, "other")
    assert sh(with_volume(engine, "box", volume="default/other"), "cat /srv/f") == "x"
    with pytest.raises(NotFound, match="'data'"):
        engine.volumes.get("data")


def test_names_that_are_taken_or_cannot_be_are_refused(cli: Cli, engine: Engine) -> None:
    engine.volumes.create("data")
    refused(cli("volume", "create", "data"), 4, "already a volume 'data'")
    refused(cli("volume", "create", "../x"), 3, "..")
    refused(cli("volume", "create", "x y"), 2, "volume")
    refused(cli("volume", "create", "none/data"), 3, "storage pool 'none'")
    refused(cli("volume", "info", "nothing"), 3, "volume 'nothing'", "volume ls")
    refused(cli("volume", "rm", "nothing"), 3, "volume 'nothing'")
    other = engine.volumes.create("other")
    with pytest.raises(Exists):
        engine.volumes.rename(other, "data")
    with pytest.raises(Invalid):
        engine.volumes.rename(other, "a/b")


def test_a_pool_that_cannot_limit_says_so_and_nothing_is_left(cli: Cli, engine: Engine) -> None:
    present = engine.volumes.create("present")
    driver = engine.pools.driver("default")
    if not driver.abilities.quota:
        pytest.skip("the file system of this test has project quotas")
    before = driver.names()
    refused(cli("volume", "create", "data", "--size", "10M"), 6, "default", "use a pool of the driver loop or btrfs")
    with pytest.raises(Unsupported):
        engine.volumes.set(present, size_bytes=10 << 20)
    assert engine.volumes.all() == (present,)
    assert driver.names() == before


def test_a_volume_in_a_btrfs_is_limited(engine: Engine, cli: Cli) -> None:
    if "btrfs" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no btrfs")
    engine.pools.create("snaps", "btrfs", size="256M")
    try:
        assert cli("volume", "create", "snaps/data", "--size", "32M").returncode == 0
        one, two = (with_volume(engine, name, volume="snaps/data") for name in ("one", "two"))
        sh(one, "dd if=/dev/zero of=/srv/first bs=1M count=20; sync")
        full = two.exec(["sh", "-c", "dd if=/dev/urandom of=/srv/second bs=1M count=20 && sync"])
        assert full.code != 0 and b"uota exceeded" in full.stderr
        sh(two, "rm /srv/*; sync; echo more > /srv/more")
        assert sh(one, "cat /srv/more") == "more"
    finally:
        for instance in engine.instances():
            instance.delete(force=True)
        for volume in engine.volumes.all():
            engine.volumes.remove(volume)
        engine.pools.remove("snaps")


def test_info_says_what_it_takes_and_where_it_is(cli: Cli, engine: Engine) -> None:
    engine.volumes.create("data", description="for tests")
    box = with_volume(engine, "box")
    sh(box, "head -c 3000000 /dev/urandom > /srv/f; sync")
    said = cli("volume", "info", "data").stdout
    assert "for tests" in said
    assert "box" in said
    assert engine.volumes.info(engine.volumes.get("data"), with_disk=True).used_bytes in range(3_000_000, 3_200_000)


def test_a_full_volume_is_full_for_all_of_them(engine: Engine, root: Path, tmp_path: Path) -> None:
    """The pools of the installation are on a small disk of their own."""
    disk, point = tmp_path / "disk", tmp_path / "small"
    point.mkdir()
    with disk.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, point], check=True)
    try:
        (root / "lib" / "storage").symlink_to(point)
        volume = engine.volumes.create("data")
        one, two = with_volume(engine, "one"), with_volume(engine, "two")
        for full in (one, two):
            assert full.exec(["sh", "-c", "cat /dev/zero > /srv/$HOSTNAME"]).code != 0
        sh(two, "rm /srv/*; echo more > /srv/more")
        assert sh(one, "cat /srv/more") == "more"
    finally:
        for instance in engine.instances():
            instance.delete(force=True)
        engine.volumes.remove(volume)
        assert eventually(lambda: subprocess.run(["umount", point], stderr=subprocess.DEVNULL).returncode == 0)
        (root / "lib" / "storage").unlink()


def test_a_volume_cannot_be_removed_while_somebody_begins_to_use_it(engine: Engine) -> None:
    """The record of the instance is there first, or the volume is gone."""
    engine.volumes.create("data")
    box = engine.create("busybox", "box", config=QUICK)
    box.mounts.add("m", "source=data", "target=/srv")
    with pytest.raises(Busy):
        engine.volumes.remove(engine.volumes.get("data"))
    box.mounts.remove("m")
    engine.volumes.remove(engine.volumes.get("data"))
    with pytest.raises(NotFound, match="no volume"):
        box.mounts.add("m", "source=data", "target=/srv")


def test_a_volume_that_is_removed_just_before_it_is_claimed_is_not_named_by_anybody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there when the words are looked at, and gone when they are stored."""
    box = engine.create("busybox", "box", config=QUICK)
    volume = engine.volumes.create("data")
    accept = mounts.accept

    def late(*args: Any, **words: Any) -> None:
        accept(*args, **words)
        engine.volumes.remove(volume)

    monkeypatch.setattr(mounts, "accept", late)
    with pytest.raises(NotFound, match="no volume 'data'"):
        box.mounts.add("m", "source=data", "target=/srv")
    box.reload()
    assert box.config.mounts == {}


@pytest.mark.parametrize("doing", ["create", "copy", "import", "restore"])
def test_whoever_is_made_while_its_volume_goes_is_not_made(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    """It is there when the words are looked at, and gone when the record is written."""
    words = [*QUICK, "mounts.m.source=data", "mounts.m.target=/srv"]
    volume = engine.volumes.create("data")
    box = engine.create("busybox", "box", config=words)
    with engine.export("box", has_image=False) as chunks:
        stream = b"".join(chunks)
    box.snapshots.create("before")
    box.mounts.remove("m")
    accept = mounts.accept

    def late(*args: Any, **arguments: Any) -> None:
        accept(*args, **arguments)
        with contextlib.suppress(NotFound):
            engine.volumes.remove(volume)

    monkeypatch.setattr(mounts, "accept", late)
    trees = set(engine.pools.driver("default").names()) - {volume.tree.name}
    do: dict[str, Callable[[], object]] = {
        "create": lambda: engine.create("busybox", "new", config=words),
        "copy": lambda: engine.copy("box/before", "new"),
        "import": lambda: engine.import_instance(iter([stream]), "new"),
        "restore": lambda: box.snapshots.restore("before"),
    }
    with pytest.raises(NotFound, match="no volume 'data'"):
        do[doing]()
    assert [each.name for each in engine.instances()] == ["box"]
    assert set(engine.pools.driver("default").names()) == trees
    box.reload()
    assert box.config.mounts == {}
    assert len(list(Path(engine.layout.instances).iterdir())) == 1


def test_what_names_a_volume_that_is_not_there_is_refused(cli: Cli, engine: Engine, tmp_path: Path) -> None:
    engine.volumes.create("data")
    box = engine.create("busybox", "box", config=[*QUICK, "mounts.m.source=data", "mounts.m.target=/srv"])
    assert cli("export", "--without-image", "box", str(tmp_path / "box.cloison")).returncode == 0
    box.delete()
    engine.volumes.remove(engine.volumes.get("data"))
    before = engine.pools.driver("default").names()
    refused(cli("import", str(tmp_path / "box.cloison")), 3, "no volume 'data'", "volume create data")
    refused(
        cli("create", "busybox", "new", "--set", "mounts.m.source=none", "--set", "mounts.m.target=/srv"),
        3,
        "no volume 'none'",
    )
    engine.pools.create("other", "dir")
    refused(cli("volume", "info", "other/none"), 3, "no volume 'none'", "volume create other/none")
    engine.create("busybox", "plain", config=QUICK)
    refused(cli("copy", "plain", "new", "--set", "mounts.m.source=none", "--set", "mounts.m.target=/srv"), 3, "'none'")
    assert [each.name for each in engine.instances()] == ["plain"]
    engine.get("plain").delete()
    assert engine.pools.driver("default").names() == before


def test_a_volume_comes_to_a_frozen_instance(engine: Engine) -> None:
    engine.volumes.create("data")
    box = engine.launch("busybox", "box", config=QUICK)
    box.freeze()
    box.mounts.add("m", "source=data", "target=/srv")
    box.unfreeze()
    sh(box, "echo x > /srv/f")
    assert Path(f"{engine.volumes.path('', 'data')}/f").read_text() == "x\n"
