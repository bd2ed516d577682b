"""Instances that are exported and imported: between installations, pools of other kinds, and in pieces."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import cloison
from cloison import CloisonError, Engine, Exists, Instance, Invalid, NotFound, State, WrongState
from cloison.engine.engine import Engine as AnEngine
from tests.integration import conftest as above
from tests.integration.conftest import ALONE, PROGRAM, Cli, inside, refused
from tests.integration.storage.conftest import mounted
from tests.integration.storage.test_snapshots import add_pool, names, trees, write

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
INIT = (
    *ALONE,
    "init.command=/bin/sh -c 'trap exit TERM; while :; do sleep 1 & wait; done'",
    "boot.stop_signal=SIGTERM",
)


@pytest.fixture(scope="session")
def clean_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image store whose busybox nobody has put anything into: its layer is what its digest says."""
    root = tmp_path_factory.mktemp("clean")
    cloison.open(str(root)).image("busybox")
    return root / "lib" / "images"


@pytest.fixture
def root(tmp_path: Path, clean_images: Path) -> Path:
    return above.empty_installation(tmp_path / "root", clean_images)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """A second installation, without any image."""
    engine = cloison.open(str(tmp_path / "other"))
    yield engine
    for instance in engine.instances():
        instance.delete(force=True)
    engine.store.close()


@pytest.fixture
def box(engine: Engine) -> Instance:
    """A running container with two snapshots."""
    box = engine.launch("busybox", "box", config=(*INIT, "env.A=1"))
    write(box, "/root/a", "one")
    box.snapshots.create("first", description="the first")
    write(box, "/root/a", "two")
    inside(box, "rm", "/etc/shadow")
    box.snapshots.create("second")
    write(box, "/root/a", "three")
    return box


def exported(engine: AnEngine, **how: object) -> bytes:
    with engine.export("box", **how) as chunks:  # type: ignore[arg-type]
        return b"".join(chunks)


def expect_the_box(box: Instance) -> None:
    """It is what `box` was, at all three times."""
    assert names(box) == ["first", "second"]
    assert box.snapshots.list()[0].description == "the first"
    assert box.get("env.A") == "1"
    for snapshot, text in (("", "three"), ("second", "two"), ("first", "one")):
        if snapshot:
            box.snapshots.restore(snapshot)
        box.start()
        assert inside(box, "cat", "/root/a") == f"{text}\n"
        assert box.exec(["test", "-e", "/etc/shadow"]).code == (0 if snapshot == "first" else 1)
        box.stop(force=True)


def nothing_in(engine: Engine, *, images: bool = False) -> bool:
    """There is no instance, no file of one, and no image unless `images`."""
    left = [name for name in os.listdir(engine.layout.instances) if not name.startswith(".deleted")]
    return not (engine.instances() or left or trees(engine) or (engine.images.images() and not images))


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_it_is_the_same_in_another_installation(engine: Engine, other: Engine, box: Instance, compression: str) -> None:
    stream = exported(engine, compression=compression)
    assert box.state is State.RUNNING
    there = other.import_instance([stream])
    assert (there.name, there.state) == ("box", State.STOPPED)
    assert [image.names for image in other.images.images()] == [("busybox",)]
    expect_the_box(there)


def test_a_pipe_leads_from_one_command_to_another(root: Path, other: Engine, box: Instance) -> None:
    first = subprocess.Popen(
        [PROGRAM, "export", "box", "-"], stdout=subprocess.PIPE, env={**os.environ, "CLOISON_ROOT": str(root)}
    )
    second = subprocess.run(
        [PROGRAM, "import", "-", "moved"],
        stdin=first.stdout,
        capture_output=True,
        text=True,
        env={**os.environ, "CLOISON_ROOT": other.layout.root},
        timeout=60,
    )
    assert first.stdout is not None
    first.stdout.close()
    assert (first.wait(), second.returncode, second.stdout) == (0, 0, "moved\n"), second.stderr
    expect_the_box(other.get("moved"))


@pytest.mark.parametrize("kind", ["btrfs", "dir", "loop"])
def test_it_goes_to_a_pool_of_another_kind_and_back(
    engine: Engine, other: Engine, box: Instance, tmp_path: Path, kind: str
) -> None:
    stream = exported(engine)
    with mounted("btrfs", tmp_path) as point:
        pool = add_pool(other, "p", kind, point / "pool")
        there = other.import_instance([stream], storage=pool)
        expect_the_box(there)
        there.delete()
        there = other.import_instance([stream], storage=pool)
        back = engine.import_instance([exported(other)], "back")
        expect_the_box(back)
        back.delete()
        there.delete()


def test_what_has_changed_since_a_snapshot_brings_the_other_up_to_date(
    engine: Engine, other: Engine, box: Instance
) -> None:
    box.snapshots.delete("second")
    there = other.import_instance([exported(engine)])
    assert names(there) == ["first"]
    write(box, "/root/b", "new")
    box.snapshots.create("second")
    write(box, "/root/c", "newest")
    changes = exported(engine, since="first")
    assert len(changes) < 100_000
    there = other.import_instance([changes])
    assert names(there) == ["first", "second"]
    there.start()
    assert inside(there, "cat", "/root/a", "/root/b", "/root/c") == "three\nnew\nnewest\n"
    there.stop(force=True)
    with pytest.raises(Exists, match="has a snapshot 'second' already"):
        other.import_instance([changes])
    later = exported(engine, since="second")
    with pytest.raises(WrongState, match="has been started here"):
        other.import_instance([later])
    other.import_instance([later], force=True)
    with pytest.raises(NotFound):
        other.import_instance([later], "nobody")
    there.snapshots.delete("second")
    with pytest.raises(NotFound, match="has not the snapshot 'second'"):
        other.import_instance([later], force=True)


def test_without_its_image_the_other_side_has_to_have_it(engine: Engine, other: Engine, box: Instance) -> None:
    stream = exported(engine, has_image=False, has_snapshots=False)
    assert len(stream) < 100_000
    with pytest.raises(NotFound, match="needs the image busybox"):
        other.import_instance([stream])
    assert nothing_in(other)
    copy = engine.import_instance([stream], "copy")
    copy.start()
    assert inside(copy, "cat", "/root/a") == "three\n"


def test_a_stream_that_breaks_leaves_nothing(engine: Engine, other: Engine, box: Instance) -> None:
    stream = exported(engine, compression="none")
    ends = [0, 10, 100, len(stream) // 4, len(stream) // 2, len(stream) - 300_000, len(stream) - 1000, len(stream) - 1]
    for end in ends:
        with pytest.raises(Invalid):
            other.import_instance([stream[:end]])
        assert nothing_in(other), end
    for at in (30, len(stream) // 2, len(stream) - 2000, len(stream) - 1):
        wrong = bytearray(stream)
        wrong[at] ^= 1
        with pytest.raises(CloisonError):
            other.import_instance([bytes(wrong)])
        assert nothing_in(other), at
    other.import_instance([stream])


def test_what_meets_somebody_else_is_refused(engine: Engine, box: Instance, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "box.cloison"
    assert cli("export", "box", str(file)).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    refused(cli("export", "box", str(file)), 4, "there is a file")
    refused(cli("export", "nobody", str(tmp_path / "x")), 3, "'nobody'")
    refused(cli("export", "box", str(tmp_path / "x"), "--since", "never"), 3, "no snapshot 'never'")
    refused(cli("import", str(file)), 4, "already an instance 'box'")
    refused(cli("import", str(file), "a/b"), 2, "no name for an instance")
    refused(cli("import", str(tmp_path / "x")), 3, "there is no file")
    refused(cli("import", str(file), "new", "--storage", "nowhere"), 3, "no storage pool 'nowhere'")
    (tmp_path / "tar").write_bytes(b"\0" * 10240)
    refused(cli("import", str(tmp_path / "tar")), 2, "no exported instance")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:3000])
    refused(cli("import", str(tmp_path / "cut")), 2, "only the beginning of one")
    refused(cli("image", "import", str(file)), 2, "this is an exported instance, and no image")
    (tmp_path / "new").write_bytes(b"cloison-instance 7\n" + bytes(100))
    refused(cli("import", str(tmp_path / "new")), 6, "the form 7")
    assert not [name for name in os.listdir(tmp_path) if "part" in name or name == "x"]
    assert cli("import", str(file), "new", "--set", "env.A=2").stdout == "new\n"
    assert (engine.get("new").get("env.A"), len(engine.instances())) == ("2", 2)


def test_a_configuration_that_cannot_be_is_refused(engine: Engine, other: Engine, box: Instance) -> None:
    engine.networks.create("lan", ("ipv4=10.79.9.1/24", "ipv6=none"))
    engine.create("busybox", "wired", config=("nics.eth0.network=lan",))
    with engine.export("wired") as chunks:
        stream = b"".join(chunks)
    with pytest.raises(NotFound, match="lan"):
        other.import_instance([stream])
    assert nothing_in(other)
    found = other.import_instance([stream], config=("nics.eth0.network=", "nics.eth0.type=empty"))
    assert msgspec.to_builtins(found.info().config) == {"nics.eth0.type": "empty"}
