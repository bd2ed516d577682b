"""Volumes in pools that have a disk for each tree: one file system, mounted once, in as many instances as one likes."""

import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloison import CloisonError, Engine, Instance
from cloison.engine.volumes import Volume
from tests.integration.conftest import QUICK, Cli, eventually, inside, refused
from tests.integration.storage.conftest import MEBIBYTE, thin_pool

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_loop]
KINDS = ("loop", pytest.param("lvm", marks=pytest.mark.needs_lvm))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def disks(engine: Engine, kind: str, tmp_path: Path) -> Iterator[Engine]:
    """An installation with the pool `disks`, of which nothing is left at the end."""
    if kind == "lvm":
        with thin_pool(tmp_path) as place:
            engine.pools.create("disks", "lvm", source=place, size="64M")
            yield engine
            remove_all(engine)
    else:
        engine.pools.create("disks", "loop", size="64M")
        yield engine
        remove_all(engine)


def remove_all(engine: Engine) -> None:
    for instance in engine.instances():
        instance.delete(force=True)
    for volume in engine.volumes.all():
        engine.volumes.remove(volume)
    engine.pools.remove("disks")
    assert str(engine.layout.run) not in Path("/proc/self/mountinfo").read_text()


def mounts_of(engine: Engine) -> list[str]:
    """Where the disks of volumes are mounted on the host, as the kernel says."""
    there = f"{engine.layout.run}/volumes/"
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if point.startswith(there)]


def devices_of(engine: Engine, volume: Volume) -> set[str]:
    """The block devices with the volume's disk, of the whole machine."""
    image = engine.pools.driver("disks").root(volume.tree).image
    if image.startswith("/dev/"):
        return {os.path.realpath(image)}
    told = subprocess.run(["losetup", "--associated", image], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^(/dev/loop\d+)", told, re.MULTILINE))


def launch(engine: Engine, name: str, *settings: str) -> Instance:
    words = [f"mounts.m.{word}" for word in ("source=disks/data", "target=/srv", *settings)]
    return engine.launch("busybox", name, config=[*QUICK, *words])


def sh(instance: Instance, script: str) -> str:
    return inside(instance, "/bin/sh", "-c", script).strip()


def size_of(instance: Instance) -> int:
    return int(sh(instance, "df -k /srv").split()[-5]) * 1024


def is_full(instance: Instance, mebibytes: int) -> bool:
    done = instance.exec(["/bin/sh", "-c", f"dd if=/dev/zero of=/srv/big bs=1M count={mebibytes}"])
    return done.code != 0 and b"No space left" in done.stderr


def test_it_is_in_several_at_once_and_outlives_them(disks: Engine) -> None:
    volume = disks.volumes.create("data", "disks")
    one, two = launch(disks, "one"), launch(disks, "two")
    reader = launch(disks, "reader", "ro=true")
    sh(one, "echo one > /srv/a; chown 1000:33 /srv/a")
    assert sh(two, "cat /srv/a; stat -c '%u %g' /srv/a") == "one\n1000 33"
    sh(two, "echo two >> /srv/a")
    assert sh(reader, "cat /srv/a") == "one\ntwo"
    assert reader.exec(["/bin/sh", "-c", "echo x > /srv/b"]).code != 0
    assert len(devices_of(disks, volume)) == 1
    assert mounts_of(disks) == [disks.volumes.path("disks", "data")]
    assert os.stat(f"{disks.volumes.path('disks', 'data')}/a").st_uid == 1000  # unshifted on the host
    for each in (one, two, reader):
        each.delete(force=True)
    assert sh(launch(disks, "later"), "cat /srv/a") == "one\ntwo"


def test_it_comes_to_what_runs_and_goes_again(disks: Engine, cli: Cli) -> None:
    assert cli("volume", "create", "disks/data").returncode == 0
    box = disks.launch("busybox", "box", config=QUICK)
    assert mounts_of(disks) == []
    assert cli("mount", "add", "box", "m", "source=disks/data", "target=/srv").returncode == 0
    sh(box, "echo kept > /srv/f")
    assert cli("mount", "set", "box", "m", "ro=true").returncode == 0
    assert sh(box, "cat /srv/f") == "kept"
    refused(cli("volume", "rm", "disks/data"), 4, "in use by box")
    assert cli("mount", "remove", "box", "m").returncode == 0
    assert sh(box, "ls /srv") == ""
    volume = disks.volumes.get("disks/data")
    assert cli("volume", "rm", "disks/data").returncode == 0
    assert mounts_of(disks) == []
    assert volume.tree.name not in disks.pools.driver("disks").names()
    assert not os.path.exists(f"{disks.layout.run}/volumes")


def test_many_that_start_at_once_have_one_file_system(disks: Engine) -> None:
    volume = disks.volumes.create("data", "disks")
    words = [*QUICK, "mounts.m.source=disks/data", "mounts.m.target=/srv"]
    boxes = [disks.create("busybox", f"box{number}", config=words) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for starting in [threads.submit(box.start) for box in boxes]:
            starting.result()
    assert len(devices_of(disks, volume)) == 1
    assert len(mounts_of(disks)) == 1
    for box in boxes:
        sh(box, "hostname > /srv/$(hostname)")
    assert sh(boxes[0], "ls /srv").split() == [box.name for box in boxes]


def test_its_size_is_its_limit_and_df_tells_it(disks: Engine) -> None:
    disks.volumes.create("data", "disks", size_bytes=32 * MEBIBYTE)
    box = launch(disks, "box")
    assert 16 * MEBIBYTE < size_of(box) < 32 * MEBIBYTE
    assert is_full(box, 40)
    other = launch(disks, "other")
    assert other.exec(["/bin/sh", "-c", "head -c 1000000 /dev/zero > /srv/more"]).code != 0
    assert sh(box, "rm /srv/big; echo x > /srv/f; cat /srv/f") == "x"


def test_it_becomes_larger_and_smaller_while_nobody_runs_with_it(disks: Engine, cli: Cli) -> None:
    disks.volumes.create("data", "disks", size_bytes=32 * MEBIBYTE)
    box = launch(disks, "box")
    sh(box, "head -c 20000000 /dev/zero > /srv/f")
    refused(cli("volume", "set", "disks/data", "--size", "24M"), 4, "while it is in box", "cloison stop box")
    box.stop(force=True)
    assert cli("volume", "set", "disks/data", "--size", "80M").returncode == 0
    box.start()
    assert 60 * MEBIBYTE < size_of(box) < 80 * MEBIBYTE
    assert sh(box, "stat -c %s /srv/f") == "20000000"
    box.stop(force=True)
    refused(cli("volume", "set", "disks/data", "--size", "16M"), 2, "--size 16M is less than what is used")
    assert cli("volume", "set", "disks/data", "--size", "56M").returncode == 0
    assert "56" in cli("volume", "info", "disks/data").stdout
    box.start()
    assert size_of(box) < 56 * MEBIBYTE
    assert sh(box, "stat -c %s /srv/f") == "20000000"


@pytest.mark.guest  # whose root has CAP_SYS_RESOURCE
def test_it_grows_while_it_is_in_use_or_says_what_to_do(disks: Engine, cli: Cli) -> None:
    disks.volumes.create("data", "disks", size_bytes=32 * MEBIBYTE)
    box = launch(disks, "box")
    done = cli("volume", "set", "disks/data", "--size", "64M")
    if done.returncode:  # root of this host has no CAP_SYS_RESOURCE
        refused(done, 6, "'data'", "while it is in box", "CAP_SYS_RESOURCE", "cloison stop box")
        assert disks.volumes.get("disks/data").size.bytes == 32 * MEBIBYTE
        assert size_of(box) < 32 * MEBIBYTE
        assert "CapEff:\t000001ffffffffff" not in Path("/proc/self/status").read_text()
        return
    assert 40 * MEBIBYTE < size_of(box) < 64 * MEBIBYTE
    assert not is_full(box, 40)


def test_what_the_machine_forgets_at_its_end_is_mounted_again(disks: Engine) -> None:
    disks.volumes.create("data", "disks")
    box = launch(disks, "box")
    sh(box, "echo kept > /srv/f")
    box.stop(force=True)
    subprocess.run(["umount", *mounts_of(disks)], check=True)
    box.start()
    assert sh(box, "cat /srv/f") == "kept"


def test_nothing_is_mounted_for_what_is_only_shown(disks: Engine, cli: Cli) -> None:
    disks.volumes.create("data", "disks")
    words = ["mounts.m.source=disks/data", "mounts.m.target=/srv"]
    disks.create("busybox", "box", config=[*QUICK, *words])
    said = cli("explain", "box")
    assert said.returncode == 0 and "/volumes/" in said.stdout
    assert cli("volume", "info", "disks/data").returncode == 0
    assert mounts_of(disks) == []


def test_who_works_in_it_on_the_host_keeps_it(disks: Engine, cli: Cli) -> None:
    disks.volumes.create("data", "disks")
    path = disks.volumes.path("disks", "data")
    with subprocess.Popen(["sleep", "60"], cwd=path) as sleeper:
        refused(cli("volume", "rm", "disks/data"), 4, "cannot be unmounted", f"fuser -vm {path}")
        assert disks.volumes.get("disks/data").name == "data"
        sleeper.kill()
    assert eventually(lambda: cli("volume", "rm", "disks/data").returncode == 0)
    assert mounts_of(disks) == []


def test_a_limit_that_cannot_be_leaves_nothing(disks: Engine, cli: Cli) -> None:
    refused(cli("volume", "create", "disks/data", "--size", "1M"), 2, "--size 1M is too little")
    assert disks.volumes.all() == () and disks.pools.driver("disks").names() == ()
    disks.volumes.create("data", "disks")
    with pytest.raises(CloisonError, match=r"^--inodes 5"):
        disks.volumes.set(disks.volumes.get("disks/data"), inodes=5)
