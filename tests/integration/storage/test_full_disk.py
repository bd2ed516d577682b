"""Disks that are full: every command says so and loses nothing, and what gives space back works all the same."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloison
from cloison import Instance, State
from cloison.base.errors import NoSpace
from cloison.storage.reserve import PIECES
from tests.integration.conftest import PROGRAM, inside
from tests.integration.storage.conftest import mounted, run
from tests.integration.storage.test_killed import RECIPE, cloison_says, expect_order
from tests.integration.storage.test_snapshots import add_pool, write
from tests.integration.storage.test_transfer import INIT

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.timeout(300)]


def fill(point: Path, name: str = "filler") -> Path:
    """Leave no block free on a file system."""
    path = point / name
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


WRITING = (
    ("snapshot", "create", "box", "new"),
    ("copy", "box", "new"),
    ("import", "file", "new2"),
    ("publish", "--force", "box", "--name", "new"),
    ("export", "box", "root/file"),
    ("volume", "create", "data"),
    ("image", "import", "archive.tar", "new3"),
    ("image", "export", "busybox", "root/archive.tar"),
    ("image", "build", "./web.toml"),
    ("file", "push", "file", "box/root/file"),
)


def tried_on_a_full_disk(root: Path, *words: str) -> int:
    """The exit code of a command, which may succeed; else it says that there is no space."""
    done = subprocess.run(
        [PROGRAM, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "CLOISON_ROOT": str(root)},
        cwd=root.parent,
        timeout=120,
    )
    assert done.returncode in (0, 6), (words, done.stderr)
    assert done.returncode == 0 or "no-space" in done.stderr, (words, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


@pytest.mark.parametrize("kind", ["overlay", "dir", "btrfs"])
def test_a_full_disk_is_named_and_loses_nothing(kind: str, tmp_path: Path) -> None:
    fstype = "btrfs" if kind == "btrfs" else "ext4"
    with mounted(fstype, tmp_path, 160) as point:
        root = point / "root"
        engine = cloison.open(str(root))
        engine.image("busybox")
        pool = "default" if kind == "overlay" else add_pool(engine, "p", kind, point / "pool")
        box = engine.launch("busybox", "box", config=INIT, storage=pool)
        write(box, "/root/a", "then")
        box.snapshots.create("then")
        write(box, "/root/a", "now")
        inside(box, "dd", "if=/dev/urandom", "of=/root/big", "bs=1M", "count=20")
        cloison_says(root, "export", "box", str(point / "file"))
        (point / "web.toml").write_text(RECIPE)
        engine.publish("box", "published", force=True)
        cloison_says(root, "image", "export", "published", str(point / "archive.tar"))
        engine.remove_image("published")
        filler = fill(point)
        try:
            done = [tried_on_a_full_disk(root, *words) for words in WRITING]
            assert sum(each != 0 for each in done) >= 2, done
            assert inside(box, "cat", "/root/a") == "now\n"
            assert box.state is State.RUNNING
            for verb in (("snapshot", "restore", "--force", "box", "then"), ("rebuild", "--force", "box")):
                tried_on_a_full_disk(root, *verb)
                assert box.state is State.RUNNING, verb
        finally:
            filler.unlink()
        expect_order(engine)
        box = engine.get("box")
        box.snapshots.restore("then", force=True)
        if box.state is State.STOPPED:
            box.start()
        assert inside(box, "cat", "/root/a") == "then\n"
        for instance in engine.instances():
            instance.delete(force=True)
        engine.store.close()


def test_no_start_with_a_root_that_is_silently_read_only(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path, 160) as point:
        engine = cloison.open(str(point / "root"))
        box = engine.launch("busybox", "box", config=INIT)
        box.stop(force=True)
        filler = point / "filler"
        with open(filler, "wb") as file:  # as somebody who has no part of the reserve, as anybody inside
            subprocess.run(["dd", "if=/dev/zero", "bs=4k"], stdout=file, stderr=subprocess.DEVNULL, user=65534)
        with pytest.raises(NoSpace, match="its root file system would be read-only"):
            box.start()
        assert box.state is State.STOPPED
        filler.unlink()
        box.start()
        write(box, "/root/a", "now")
        box.delete(force=True)
        engine.store.close()


# --- what gives space back -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(fstype: str, where: Path) -> Iterator[Path]:
    if fstype != "tmpfs":
        with mounted(fstype, where, 300 if fstype == "xfs" else 160) as point:  # mkfs.xfs(8) wants 300 MiB
            yield point
        return
    point = where / "tmpfs"
    point.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=4000", "tmpfs", point)
    try:
        yield point
    finally:
        run("umount", point)


def free_bytes(point: Path) -> int:
    found = os.statvfs(point)
    return found.f_bfree * found.f_frsize


def said(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, env=environment, timeout=120)


FREEING = (
    ("stop", "--force", "two"),
    ("snapshot", "delete", "box", "then"),
    ("image", "rm", "published"),
    ("volume", "rm", "data"),
    ("delete", "two"),
    ("repair",),
    ("delete", "--force", "box"),
)


@contextlib.contextmanager
def prepared(root: Path) -> Iterator[cloison.Engine]:
    """Two containers that run, and something of each kind that can be deleted."""
    engine = cloison.open(str(root))
    try:
        box = engine.launch("busybox", "box", config=INIT)
        engine.launch("busybox", "two", config=INIT)
        inside(box, "dd", "if=/dev/urandom", "of=/root/big", "bs=1M", "count=3")
        box.snapshots.create("then")
        engine.publish("box", "published", force=True)
        engine.volumes.create("data")
        yield engine
    finally:
        for instance in engine.instances():
            instance.delete(force=True)
        engine.store.close()


@pytest.mark.parametrize("has_log", [True, False], ids=["after other commands", "first command since a tidy end"])
@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_what_gives_space_back_works_without_a_free_byte(fstype: str, tmp_path: Path, *, has_log: bool) -> None:
    root = tmp_path / fstype / "root"
    with small_disk(fstype, tmp_path) as point, prepared(root) as engine:
        fill(point)
        if not has_log:  # SQLite deletes its log and that log's index when it is closed in order
            engine.store.close()
            fill(point, "more")
        nothing = free_bytes(point)
        refused = said(root, "export", "box", str(point / "out"))
        assert refused.returncode == 6 and "no-space" in refused.stderr, refused.stderr
        listed = said(root, "ls")
        assert listed.returncode == 0 and "box" in listed.stdout and "two" in listed.stdout, listed.stderr
        for number, words in enumerate(FREEING):
            done = said(root, *words)
            assert done.returncode == 0, (words, done)
            if number in (0, 2):
                fill(point, f"filler{number}")
        assert cloison_says(root, "ls", "--json").strip() == "[]"
        assert free_bytes(point) > nothing + (2 << 20)
        assert len(list((root / "lib/reserve").iterdir())) == PIECES + 1
        expect_order(engine)


def test_what_gives_space_back_works_without_a_free_inode(tmp_path: Path) -> None:
    root = tmp_path / "tmpfs/root"
    with small_disk("tmpfs", tmp_path) as point, prepared(root) as engine:
        engine.store.close()
        (point / "full").mkdir()
        with contextlib.suppress(OSError):
            for number in range(1 << 20):
                (point / f"full/{number}").touch()
        assert os.statvfs(point).f_ffree == 0
        for words in FREEING:
            done = said(root, *words)
            assert done.returncode == 0, (words, done)
        assert len(list((root / "lib/reserve").iterdir())) == PIECES + 1


def test_nobody_makes_the_reserve_again_while_it_is_used(tmp_path: Path) -> None:
    with small_disk("tmpfs", tmp_path) as point:
        engine = cloison.open(str(point / "root"))
        pieces = Path(engine.layout.reserve)
        fill(point)
        with engine.freeing():
            assert [path.name for path in pieces.iterdir()] == ["lock"]
            cloison.open(str(point / "root"))
            with engine.freeing():  # a deletion within another
                pass
            assert [path.name for path in pieces.iterdir()] == ["lock"]
        assert len(list(pieces.iterdir())) == PIECES + 1
        assert Path(engine.layout.reserve_last) == max(pieces.glob("[0-9]*"))
        engine.store.close()


# --- a start that cannot be noted ------------------------------------------------------------------------------------


def test_a_start_that_the_store_cannot_note_is_taken_back(quick: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.stop(force=True)

    def full(*_arguments: object) -> None:
        raise NoSpace("the state store cannot be written: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("cloison.engine.records.save", full)
        with pytest.raises(NoSpace):
            quick.start()
    assert quick.state is State.STOPPED
    assert cloison_says(root_of(quick), "repair") == "there was nothing to take back\n"
    quick.start()


NOTED_BY_NOBODY = """
import os, cloison
from cloison.engine import starting
starting.noted = lambda _engine, _record: os.kill(os.getpid(), 9)
cloison.open().get("quick").start()
"""


def test_repair_notes_a_start_that_nobody_has_noted(quick: Instance) -> None:
    quick.stop(force=True)
    before = quick.record.started_ns
    dying = subprocess.run([sys.executable, "-c", NOTED_BY_NOBODY], stderr=subprocess.DEVNULL)
    assert dying.returncode == -signal.SIGKILL
    assert quick.state is State.RUNNING
    assert "quick" in cloison_says(root_of(quick), "repair")
    assert cloison_says(root_of(quick), "repair") == "there was nothing to take back\n"
    quick.reload()
    assert quick.record.started_ns > before
    assert quick.state is State.RUNNING


def root_of(instance: Instance) -> Path:
    return Path(instance.directory).parents[2]
