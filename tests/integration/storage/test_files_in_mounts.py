"""`file` below what is mounted in an instance that does not run: volumes are there, all else says that it is not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance, WrongState
from tests.integration.conftest import QUICK, Cli, inside, refused

pytestmark = [pytest.mark.needs_root]


@pytest.fixture(autouse=True)
def pools(engine: Engine) -> Iterator[None]:
    engine.pools.create("whole", "dir")
    engine.pools.create("disks", "loop", size="64M")
    yield
    for instance in engine.instances():
        instance.delete(force=True)
    for volume in engine.volumes.all():
        engine.volumes.remove(volume)


def stopped(engine: Engine, *mounts: str, storage: str = "default") -> Instance:
    words = [f"mounts.{word}" for word in mounts]
    return engine.create("busybox", "box", config=[*QUICK, *words], storage=storage)


@pytest.mark.parametrize("storage", ["default", "whole", "disks"])
@pytest.mark.parametrize("pool", ["default", "disks"])
def test_what_is_pushed_below_a_volume_is_in_it(
    engine: Engine, cli: Cli, tmp_path: Path, storage: str, pool: str
) -> None:
    engine.volumes.create("data", pool)
    box = stopped(engine, f"m.source={pool}/data", "m.target=/srv/data", storage=storage)
    (tmp_path / "f").write_text("pushed")
    assert cli("file", "push", str(tmp_path / "f"), "box/srv/data/", "--uid", "33", "--gid", "34").returncode == 0
    there = Path(engine.volumes.path(pool, "data"))
    assert (there / "f").read_text() == "pushed"
    assert ((there / "f").stat().st_uid, (there / "f").stat().st_gid) == (33, 34)
    (there / "by-host").write_text("x")
    assert [line.split()[-1] for line in cli("file", "ls", "box/srv/data").stdout.splitlines()[1:]] == ["by-host", "f"]
    assert cli("file", "pull", "box/srv/data/by-host", "-").stdout == "x"
    box.start()
    assert inside(box, "/bin/sh", "-c", "cat /srv/data/f; stat -c ' %u %g' /srv/data/f") == "pushed 33 34\n"
    box.stop(force=True)
    box.mounts.remove("m")
    assert box.files.list("/srv/data") == ()  # nothing of it has come to lie under the mount


def test_a_link_leads_into_a_volume_too_and_a_read_only_one_stays_so(engine: Engine, cli: Cli) -> None:
    for name in ("data", "fixed"):
        engine.volumes.create(name)
    box = stopped(engine, "a.source=data", "a.target=/srv", "b.source=fixed", "b.target=/srv/fixed", "b.ro=true")
    box.start()
    inside(box, "/bin/ln", "-s", "/srv/in", "/root/link")
    box.stop(force=True)
    box.files.mkdir("/root/link/deep", parents=True)
    box.files.write("/root/link/deep/f", b"x")
    assert Path(f"{engine.volumes.path('', 'data')}/in/deep/f").read_bytes() == b"x"
    Path(f"{engine.volumes.path('', 'fixed')}/f").write_text("as it was")
    assert box.files.read("/srv/fixed/f") == b"as it was"
    (Path(engine.layout.root) / "new").write_text("new")
    refused(cli("file", "push", f"{engine.layout.root}/new", "box/srv/fixed/f"), 5, "read-only")
    refused(cli("file", "rm", "-r", "box/srv"), 4, "something else mounted in it")
    assert Path(f"{engine.volumes.path('', 'fixed')}/f").read_text() == "as it was"


@pytest.mark.parametrize("what", ["directory", "tmpfs", "mapped"])
def test_what_is_there_only_while_it_runs_says_so(engine: Engine, cli: Cli, tmp_path: Path, what: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "f").write_text("pushed")
    engine.volumes.create("data")
    how, said = {
        "directory": ((f"m.source={tmp_path}/site",), f"mounts.m ({tmp_path}/site)"),
        "tmpfs": (("m.type=tmpfs",), "mounts.m (tmpfs)"),
        "mapped": (("m.source=data", "m.idmap=1000:1000"), "mounts.m (data)"),
    }[what]
    box = stopped(engine, *how, "m.target=/srv")
    box.start()
    inside(box, "/bin/ln", "-s", "/srv", "/root/link")
    box.stop(force=True)
    for words in (("push", str(tmp_path / "f"), "box/srv/f"), ("ls", "box/srv"), ("pull", "box/srv/f", "-")):
        refused(cli("file", *words), 4, said, "only while it runs", "cloison start box")
    with pytest.raises(WrongState):
        box.files.write("/etc/../srv/f", b"x")
    refused(cli("file", "push", str(tmp_path / "f"), "box/root/link/f"), 5, "read-only")  # no way around by a link
    box.files.write("/root/f", b"x")
    box.mounts.remove("m")
    assert box.files.list("/srv") == () and os.listdir(tmp_path / "site") == []


def test_nothing_of_it_is_left_in_the_namespace_of_the_host(engine: Engine) -> None:
    engine.volumes.create("data", "disks")
    box = stopped(engine, "m.source=disks/data", "m.target=/srv", storage="disks")
    before = Path("/proc/self/mountinfo").read_text().count("\n")
    box.files.write("/srv/f", b"x")
    with box.files as files:
        assert files.read("/srv/f") == b"x"
    assert Path("/proc/self/mountinfo").read_text().count("\n") == before + 1  # the volume's disk
