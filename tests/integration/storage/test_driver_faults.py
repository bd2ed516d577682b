"""A full disk, and death at any moment: a clear error, nothing lost, nothing half-made that counts."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import NoSpace
from cloison.storage.driver import Driver, Tree
from cloison.storage.drivers import driver as made
from tests.integration.conftest import eventually
from tests.integration.storage.conftest import MEBIBYTE, content, mounted, seen

pytestmark = pytest.mark.needs_root
SMALL = {"overlay": ("ext4", 48), "dir": ("ext4", 64), "btrfs": ("btrfs", 160), "loop": ("ext4", 96)}


@contextmanager
def small_pool(kind: str, where: Path) -> Iterator[tuple[Driver, Path]]:
    """A pool on a small disk of its own, and where that is."""
    fstype, mebibytes = SMALL[kind]
    with mounted(fstype, where, mebibytes) as point:
        pool = made(kind, "p", f"{point}/pool", {"size": "64M"} if kind == "loop" else {})
        pool.prepare()
        yield pool, point


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Next to no space is left, in bytes and in inodes."""
    with open(disk / "filler", "wb") as file:
        try:
            while True:
                file.write(bytes(MEBIBYTE // 4))
                file.flush()
                os.fsync(file.fileno())
        except OSError as full:
            assert full.errno == errno.ENOSPC
        file.truncate(max(0, os.fstat(file.fileno()).st_size - left))
        os.fsync(file.fileno())
    many = disk / "many"
    many.mkdir()
    number = 0
    try:
        while number < 40_000:
            os.close(os.open(many / str(number), os.O_CREAT | os.O_WRONLY))
            number += 1
    except OSError as full:
        assert full.errno == errno.ENOSPC
    os.sync()
    try:
        yield
    finally:
        for path in many.iterdir():
            path.unlink()
        many.rmdir()
        (disk / "filler").unlink()


def operations(pool: Driver, tree: Tree, frozen: Tree, layers: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    stream = b"".join(pool.send(frozen))
    return {
        "create": lambda: pool.create(layers),
        "clone": lambda: pool.clone(frozen),
        "snapshot": lambda: pool.snapshot(tree, is_live=True),
        "receive": lambda: pool.receive(iter([stream]), layers),
    }


@pytest.mark.parametrize("kind", SMALL)
def test_a_full_disk_is_told_and_costs_nothing(kind: str, tmp_path: Path, layers: tuple[str, ...]) -> None:
    with small_pool(kind, tmp_path) as (pool, disk):
        tree = pool.create(layers)
        with seen(pool, tree) as root:
            (root / "large").write_bytes(os.urandom(8 * MEBIBYTE))
        split = pool.snapshot(tree, is_live=True)
        Path(layers[0], "large").write_bytes(os.urandom(8 * MEBIBYTE))  # for a new tree, of a new image
        fresh = (f"{layers[0]}/.", layers[1])
        doing = operations(pool, tree, split.frozen, fresh)
        before, names = content(pool, split.frozen), pool.names()
        assert content(pool, tree) == before
        told = []
        with filled(disk, left=MEBIBYTE):
            for name, do in doing.items():
                try:
                    do()
                except NoSpace as full:
                    assert f"no space is left for files in {disk}" in str(full)
                    told.append(name)
        # Snapshots of btrfs need next to nothing, and may find that.
        expected = {"create", "receive"} if kind == "btrfs" else {"create", "clone", "snapshot", "receive"}
        assert expected <= set(told)
        assert len(pool.names()) == len(names) + len(doing) - len(told)
        pool.put_away([tree, split.frozen])
        pool.sweep()
        assert pool.names() == names
        assert content(pool, tree) == before == content(pool, split.frozen)
        assert content(pool, pool.clone(split.frozen)) == before


DYING = """
import sys, msgspec
from cloison.storage.driver import Tree
from cloison.storage.drivers import driver
kind, path, doing, layers = sys.argv[1], sys.argv[2], sys.argv[3], tuple(sys.argv[4:6])
tree, frozen = (msgspec.json.decode(word, type=Tree) for word in sys.argv[6:8])
pool = driver(kind, "p", path, {"size": "64M"} if kind == "loop" else {})
print("ready", flush=True)
while True:
    if doing == "create":
        pool.create(layers)
    elif doing == "clone":
        pool.clone(frozen)
    elif doing == "snapshot":
        pool.snapshot(tree, is_live=True)
    elif doing == "receive":
        pool.receive(pool.send(frozen), layers)
    else:
        pool.put_away([tree, frozen])
        pool.sweep()
        pool.create(layers)
"""


def programs_at(disk: Path) -> list[bytes]:
    """The command lines of who was told to do something on this disk."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if os.fsencode(disk) in line]


@pytest.mark.slow
@pytest.mark.parametrize("doing", ["create", "clone", "snapshot", "receive", "collect"])
@pytest.mark.parametrize("kind", SMALL)
def test_whoever_dies_leaves_only_what_nobody_mentions(
    kind: str, doing: str, tmp_path: Path, layers: tuple[str, ...]
) -> None:
    with small_pool(kind, tmp_path) as (pool, disk):
        tree = pool.create(layers)
        with seen(pool, tree) as root:
            for number in range(200):
                (root / f"file{number}").write_text(str(number))
        frozen = pool.snapshot(tree, is_live=True).frozen
        before = content(pool, tree)
        for number in range(4):
            told = (msgspec.json.encode(each).decode() for each in (tree, frozen))
            words = [kind, f"{disk}/pool", doing, *layers, *told]
            dying = subprocess.Popen([sys.executable, "-c", DYING, *words], stdout=subprocess.PIPE)
            assert dying.stdout is not None and dying.stdout.readline() == b"ready\n"
            time.sleep(0.015 + 0.04 * number)
            dying.send_signal(signal.SIGKILL)
            assert dying.wait() == -signal.SIGKILL
            dying.stdout.close()
            # A program that it had started gets done: a file system that is half resized would be lost.
            assert eventually(lambda: not programs_at(disk))
            again = made(kind, "p", f"{disk}/pool", {"size": "64M"} if kind == "loop" else {})
            again.put_away([tree, frozen])
            again.sweep()
            assert set(again.names()) == {tree.name, frozen.name}
            assert content(again, tree) == before == content(again, frozen)
        assert content(pool, pool.clone(frozen)) == before
