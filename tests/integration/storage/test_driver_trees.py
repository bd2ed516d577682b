"""What every driver promises of trees: the same tests for each."""

import os
import socket
import stat
from pathlib import Path

import pytest

from cloison.base.errors import CloisonError, Invalid, NotFound
from cloison.storage.driver import Driver, Size, Tree
from tests.integration.storage.conftest import MEBIBYTE, content, run, seen

pytestmark = pytest.mark.needs_root
DEEP = "/".join(["d" * 40] * 40)


def write(pool: Driver, tree: Tree, path: str, text: str) -> None:
    with seen(pool, tree) as root:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def read(pool: Driver, tree: Tree, path: str) -> str:
    with seen(pool, tree) as root:
        return (root / path).read_text()


def test_a_tree_shows_what_its_layers_show(pool: Driver, layers: tuple[str, ...]) -> None:
    tree = pool.create(layers)
    with seen(pool, tree) as root:
        assert sorted(os.listdir(root)) == ["bin", "etc", "var"]
        assert sorted(os.listdir(root / "etc")) == ["hostname", "passwd"]
        assert os.listdir(root / "var/opaque") == ["new"]
        assert (root / "etc/hostname").read_text() == "top"
        assert os.getxattr(root / "etc/passwd", "user.mark") == b"kept"
        assert (root / "bin/ping").stat().st_ino == (root / "bin/ping6").stat().st_ino
        assert "cap_net_raw=ep" in run("getcap", root / "bin/ping")
        su = (root / "bin/su").stat()
        assert (stat.S_IMODE(su.st_mode), su.st_uid, su.st_gid) == (0o4755, 0, 42)
        assert os.readlink(root / "bin/link") == "/outside"
        assert (root / "etc").stat().st_mtime_ns == 10**18
        assert stat.S_IMODE(root.stat().st_mode) == 0o755


def test_trees_share_no_change(pool: Driver, layers: tuple[str, ...]) -> None:
    one, other = pool.create(layers), pool.create(layers)
    write(pool, one, "etc/hostname", "one")
    assert read(pool, other, "etc/hostname") == "top"
    assert Path(layers[0], "etc/hostname").read_text() == "top"


@pytest.mark.parametrize("is_live", [False, True], ids=["stopped", "live"])
def test_a_snapshot_stays_as_it_was(pool: Driver, layers: tuple[str, ...], *, is_live: bool) -> None:
    tree = pool.create(layers)
    write(pool, tree, "root/first", "before")
    with seen(pool, tree) as root:
        (root / "etc/passwd").unlink()
        os.sync()
    before = content(pool, tree)
    split = pool.snapshot(tree, is_live=is_live)
    if is_live:
        assert split.present == tree
    write(pool, split.present, "root/first", "after")
    with seen(pool, split.present) as root:
        (root / "bin/ping").unlink()
        (root / "etc/passwd").write_text("again")
    assert split.frozen.is_frozen and content(pool, split.frozen) == before
    assert read(pool, split.present, "root/first") == "after"


def test_a_frozen_tree_cannot_be_written_to(pool: Driver, layers: tuple[str, ...]) -> None:
    frozen = pool.snapshot(pool.create(layers)).frozen
    with seen(pool, frozen) as root, pytest.raises(OSError, match="Read-only file system"):
        (root / "etc/hostname").write_text("changed")


def test_a_restored_tree_is_what_was_frozen(pool: Driver, layers: tuple[str, ...]) -> None:
    split = pool.snapshot(pool.create(layers))
    before = content(pool, split.frozen)
    write(pool, split.present, "etc/hostname", "broken")
    restored = pool.clone(split.frozen)
    assert content(pool, restored) == before
    write(pool, restored, "etc/hostname", "restored")
    assert content(pool, split.frozen) == before
    again = pool.snapshot(restored)
    assert read(pool, again.frozen, "etc/hostname") == "restored"


def test_a_long_chain_of_snapshots_is_told_apart(pool: Driver, kind: str, layers: tuple[str, ...]) -> None:
    tree, frozen = pool.create(layers), []
    count = 60 if kind == "overlay" else 4
    for number in range(count):
        write(pool, tree, "number", str(number))
        split = pool.snapshot(tree)
        tree = split.present
        frozen.append(split.frozen)
    assert [read(pool, each, "number") for each in (frozen[0], frozen[count // 2], frozen[-1])] == [
        "0",
        str(count // 2),
        str(count - 1),
    ]
    assert read(pool, tree, "etc/hostname") == "top"
    with seen(pool, tree) as root:
        assert not (root / "etc/removed").exists()
    folded = 1 if kind == "overlay" else 0  # a chain that has become too long is put together
    assert len(tree.lower) < 50 and len(pool.put_away([tree, *frozen])) == folded
    assert read(pool, tree, "number") == str(count - 1)


def test_what_nobody_mentions_goes_and_the_rest_stays(pool: Driver, layers: tuple[str, ...]) -> None:
    split = pool.snapshot(pool.create(layers))
    clone, lost = pool.clone(split.frozen), pool.create(layers)
    write(pool, clone, "mine", "kept")
    before = content(pool, split.present)
    assert pool.put_away([split.present, clone]) == tuple(
        sorted({lost.name} | ({split.frozen.name} - {split.present.name, *clone.lower}))
    )
    pool.sweep()
    assert content(pool, split.present) == before
    assert read(pool, clone, "mine") == "kept"
    pool.put_away([])
    pool.sweep()
    assert pool.names() == ()


def test_what_was_deleted_gives_its_space_back(pool: Driver, layers: tuple[str, ...]) -> None:
    def used() -> int:
        os.sync()
        space = pool.space()
        assert space.total_bytes is not None and space.free_bytes is not None
        return space.total_bytes - space.free_bytes

    tree = pool.create(layers)
    with seen(pool, tree) as root:
        (root / "large").write_bytes(os.urandom(24 * MEBIBYTE))
    os.sync()
    assert pool.used(tree).bytes >= 24 * MEBIBYTE
    pool.put_away([])
    pool.sweep()
    assert pool.names() == ()
    pool.destroy()
    with pytest.raises((NotFound, OSError)), seen(pool, tree):
        pass


def test_everything_that_a_tree_can_hold_is_cloned(pool: Driver, layers: tuple[str, ...]) -> None:
    tree = pool.create(layers)
    with seen(pool, tree) as root:
        furnish(root)
    split = pool.snapshot(tree, is_live=True)
    clone = pool.clone(split.frozen)
    assert content(pool, clone) == content(pool, tree)
    with seen(pool, clone) as root:
        expect_furnished(root)


def furnish(root: Path) -> None:
    """All kinds of files."""
    odd = root / "odd"
    odd.mkdir()
    os.mkfifo(odd / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listening:
        # A path of a socket has at most 107 bytes.
        where = os.open(odd, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{where}/socket")
        os.close(where)
    os.mknod(odd / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(odd / "null", 0o666)
    os.mknod(odd / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    with open(odd / "sparse", "wb") as file:
        file.truncate(64 * MEBIBYTE)
        file.seek(32 * MEBIBYTE)
        file.write(b"middle")
    (odd / "one").write_text("twice")
    os.link(odd / "one", odd / "two")
    os.setxattr(odd / "one", "user.mark", b"\0binary\xff")
    os.setxattr(odd / "one", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    run("setfacl", "-m", "u:1234:r", odd / "one")
    (odd / "dangling").symlink_to("no/where")
    os.chown(odd / "dangling", 7, 8, follow_symlinks=False)
    (odd / os.fsdecode(b"not utf-8 \xff\n")).write_text("name")
    (odd / DEEP).mkdir(parents=True)
    (odd / DEEP / "bottom").write_text("deep")
    os.chmod(odd, 0o1777)
    os.utime(odd, ns=(10**18, 10**18))


def expect_furnished(root: Path) -> None:
    odd = root / "odd"
    assert stat.S_ISFIFO((odd / "fifo").stat().st_mode) and stat.S_ISSOCK((odd / "socket").stat().st_mode)
    null = (odd / "null").stat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev, stat.S_IMODE(null.st_mode)) == (True, os.makedev(1, 3), 0o666)
    assert stat.S_ISBLK((odd / "disk").stat().st_mode)
    sparse = (odd / "sparse").stat()
    assert sparse.st_size == 64 * MEBIBYTE and sparse.st_blocks * 512 < MEBIBYTE
    assert (odd / "one").stat().st_ino == (odd / "two").stat().st_ino
    assert os.getxattr(odd / "one", "user.mark") == b"\0binary\xff"
    assert "cap_net_raw=ep" in run("getcap", odd / "one")
    assert "user:1234:r--" in run("getfacl", "-n", "-p", odd / "one")
    assert ((odd / "dangling").lstat().st_uid, (odd / "dangling").lstat().st_gid) == (7, 8)
    assert (odd / os.fsdecode(b"not utf-8 \xff\n")).read_text() == "name"
    assert odd.stat().st_mtime_ns == 10**18 and stat.S_IMODE(odd.stat().st_mode) == 0o1777
    assert (odd / DEEP / "bottom").read_text() == "deep"


def test_changes_are_told(pool: Driver, layers: tuple[str, ...]) -> None:
    split = pool.snapshot(pool.create(layers))
    assert list(pool.changed(split.frozen, split.present)) == []
    with seen(pool, split.present) as root:
        (root / "etc/hostname").write_text("new")
        (root / "etc/passwd").unlink()
        (root / "root/.ssh").mkdir(parents=True)
        (root / "root/.ssh/key").write_text("secret")
        os.chmod(root / "bin/su", 0o755)
    found = {path: what for what, path in pool.changed(split.frozen, split.present)}
    assert found == {
        "/etc/hostname": "changed",
        "/etc/passwd": "removed",
        "/root": "added",
        "/root/.ssh": "added",
        "/root/.ssh/key": "added",
        "/bin/su": "changed",
    }


def test_a_tree_that_is_not_there_is_named(pool: Driver) -> None:
    with pytest.raises(NotFound, match="no tree 0123456789ab"):
        pool.clone(Tree("p", "0123456789ab", is_frozen=True))


def test_a_limit_that_cannot_be_is_refused_in_words(pool: Driver, layers: tuple[str, ...]) -> None:
    reason = pool.abilities.quota
    if not reason:
        tree = pool.create(layers, Size(64 * MEBIBYTE))
        assert pool.used(tree).limit.bytes == 64 * MEBIBYTE
        return
    assert "cannot limit the disk" in reason and "prjquota" in reason and "loop" in reason
    with pytest.raises(CloisonError, match="cannot limit the disk"):
        pool.create(layers, Size(64 * MEBIBYTE))
    assert pool.names() == ()


def test_a_limit_below_what_was_just_written_is_refused(pool: Driver, layers: tuple[str, ...]) -> None:
    if pool.abilities.quota:
        pytest.skip("this pool limits nothing")
    tree = pool.create(layers, Size(128 * MEBIBYTE))
    with seen(pool, tree) as root:
        (root / "large").write_bytes(os.urandom(48 * MEBIBYTE))
    with pytest.raises(Invalid, match=r"limits\.disk=32M is less than "):
        pool.resize(tree, Size(32 * MEBIBYTE))
    assert pool.used(tree).limit.bytes == 128 * MEBIBYTE


def test_fifty_trees_use_their_image_once(pool: Driver, kind: str, layers: tuple[str, ...]) -> None:
    if kind in ("dir", "dir-xfs", "loop", "lvm"):
        pytest.skip("this driver copies the image")
    Path(layers[0], "large").write_bytes(os.urandom(16 * MEBIBYTE))
    made = [pool.create(layers) for _ in range(50)]
    os.sync()
    space = pool.space()
    assert len(set(made)) == 50
    if kind != "overlay":
        assert space.total_bytes is not None and space.free_bytes is not None
        assert space.total_bytes - space.free_bytes < 200 * MEBIBYTE
    else:
        assert sum(pool.used(tree).bytes for tree in made) < 2 * MEBIBYTE
