"""An instance in a pool of the driver lvm, from its making to its end. What there is, lvs(8) and the kernel say.

The guest of `make test-vm` has thin volumes; kernels without a device mapper do not.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import CloisonError, Engine, Instance, Invalid, WrongState
from tests.integration.conftest import QUICK, Cli, inside, refused
from tests.integration.storage.conftest import MEBIBYTE, thin_pool
from tests.integration.storage.test_pools import filesystem_bytes

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_lvm]


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A thin pool, GROUP/POOL, with the storage pool `thin` in it; nothing is left of that at the end."""
    with thin_pool(tmp_path) as place:
        engine.pools.create("thin", "lvm", source=place, size="96M")
        yield place
        for instance in engine.instances():
            instance.delete(force=True)
        assert volumes(place) == {}
        engine.pools.remove("thin")


def volumes(place: str) -> dict[str, int]:
    """The thin volumes of a group with their sizes, in MiB."""
    words = ("--noheadings", "--units", "m", "--nosuffix", "--options", "lv_name,lv_size", "--select", "pool_lv!=''")
    told = subprocess.run(["lvs", *words, place.partition("/")[0]], check=True, capture_output=True, text=True).stdout
    return {name: round(float(size)) for name, size in (line.split() for line in told.splitlines())}


def made(engine: Engine, name: str = "web", *config: str) -> Instance:
    web = engine.create("busybox", name, config=[*QUICK, *config], storage="thin")
    web.start()
    return web


def test_an_instance_lives_on_a_thin_volume(engine: Engine, place: str) -> None:
    web = made(engine, "web", "limits.disk=64M")
    assert web.tree is not None
    assert volumes(place) == {web.tree.name: 64}
    assert f"/run/{web.id}/disk " in Path("/proc/self/mountinfo").read_text()
    assert 40 * MEBIBYTE < filesystem_bytes(web) < 64 * MEBIBYTE
    inside(web, "/bin/sh", "-c", "echo one > /root/f; chown 33:34 /root/f")
    web.restart()
    assert inside(web, "/bin/sh", "-c", "cat /root/f; stat -c '%u %g' /root/f").split() == ["one", "33", "34"]
    full = web.exec(["/bin/sh", "-c", "dd if=/dev/zero of=/root/big bs=1M count=80"])
    assert full.code != 0 and b"No space left" in full.stderr
    web.delete(force=True)
    assert volumes(place) == {}


def test_what_a_snapshot_has_comes_back(engine: Engine, place: str) -> None:
    web = made(engine)
    inside(web, "/bin/sh", "-c", "echo before > /root/f; sync")
    web.snapshots.create("live")
    inside(web, "/bin/sh", "-c", "echo after > /root/f")
    assert {each.path for each in web.snapshots.diff("live")} >= {"/root/f"}
    with pytest.raises(WrongState):
        web.snapshots.restore("live")
    web.snapshots.restore("live", force=True)
    assert inside(web, "cat", "/root/f") == "before\n"
    web.stop()
    web.snapshots.create("stopped")
    assert len(volumes(place)) == 3
    web.snapshots.delete("live")
    web.snapshots.delete("stopped")
    assert len(volumes(place)) == 1


def test_copies_share_nothing_that_they_write(engine: Engine, place: str, cli: Cli) -> None:
    web = made(engine)
    inside(web, "/bin/sh", "-c", "echo one > /root/f; sync")
    assert cli("copy", "web", "live").returncode == 0
    web.stop()
    assert cli("copy", "web", "other").returncode == 0
    assert cli("copy", "web", "elsewhere", "--storage", "default").returncode == 0
    assert cli("copy", "elsewhere", "back", "--storage", "thin").returncode == 0
    for name in ("live", "other", "elsewhere", "back"):
        copy = engine.get(name)
        copy.start()
        assert inside(copy, "cat", "/root/f") == "one\n"
        inside(copy, "/bin/sh", "-c", "echo mine > /root/f")
    web.start()
    assert inside(web, "cat", "/root/f") == "one\n"
    assert len(volumes(place)) == 4


def test_its_disk_grows_while_it_runs_and_shrinks_while_it_does_not(engine: Engine, place: str, cli: Cli) -> None:
    web = made(engine, "web", "limits.disk=64M")
    assert web.tree is not None
    inside(web, "/bin/sh", "-c", "head -c 20000000 /dev/zero > /root/f")
    assert cli("set", "web", "limits.disk=128M").returncode == 0
    assert volumes(place) == {web.tree.name: 128}
    assert 100 * MEBIBYTE < filesystem_bytes(web) < 128 * MEBIBYTE
    refused(cli("set", "web", "limits.disk=96M"), 4, "cannot be made smaller while it runs", "stop it first")
    assert volumes(place) == {web.tree.name: 128}
    web.reload()
    assert web.config.limits.disk == 128 * MEBIBYTE
    web.stop()
    with pytest.raises(Invalid, match="less than what is used"):
        web.set("limits.disk=16M")
    web.set("limits.disk=112M")
    assert volumes(place) == {web.tree.name: 112}
    web.start()
    assert filesystem_bytes(web) < 112 * MEBIBYTE
    assert inside(web, "/bin/stat", "-c", "%s", "/root/f") == "20000000\n"


def test_it_goes_to_another_pool_as_a_stream_and_comes_back(engine: Engine, place: str) -> None:
    web = made(engine)
    inside(web, "/bin/sh", "-c", "echo one > /root/f; sync")
    web.snapshots.create("first")
    inside(web, "/bin/sh", "-c", "echo two > /root/f; sync")
    web.stop()
    with engine.export("web", has_image=False) as chunks:
        stream = b"".join(chunks)
    there = engine.import_instance([stream], "there")
    back = engine.import_instance([stream], "back", storage="thin")
    for each in (there, back):
        each.start()
        assert inside(each, "cat", "/root/f") == "two\n"
        each.snapshots.restore("first", force=True)
        assert inside(each, "cat", "/root/f") == "one\n"


def test_a_group_without_a_thin_pool_is_refused(engine: Engine, place: str) -> None:
    group = place.partition("/")[0]
    with pytest.raises(CloisonError, match=r"is no thin pool|Failed to find logical volume"):
        engine.pools.create("none", "lvm", source=f"{group}/none")
    with pytest.raises(CloisonError, match=r"not found|is no thin pool"):
        engine.pools.create("none", "lvm", source="nogroup/thin")
    assert {each.name for each in engine.pools.all()} == {"default", "thin"}
