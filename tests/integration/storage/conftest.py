"""Pools of every driver that runs here, on file systems of their own; what is in a tree is seen by other programs."""

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloison.storage.driver import Driver, Tree
from cloison.storage.drivers import driver as made
from tests.integration.conftest import eventually

pytestmark = pytest.mark.needs_root
MEBIBYTE = 1 << 20
KINDS = ("overlay", "dir", "dir-xfs", "btrfs", "loop", pytest.param("lvm", marks=pytest.mark.needs_lvm))
MKFS = {"xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"], "ext4": ["mkfs.ext4", "-q", "-F"]}


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@contextmanager
def mounted(fstype: str, where: Path, mebibytes: int = 512) -> Iterator[Path]:
    """A file system of its own below `where`."""
    if shutil.which(MKFS[fstype][0]) is None:
        pytest.skip(f"{MKFS[fstype][0]} is not installed: tools/setup.sh test")
    if fstype not in Path("/proc/filesystems").read_text():
        pytest.skip(f"this kernel has no {fstype}")
    image, point = where / f"{fstype}.img", where / fstype
    with open(image, "wb") as file:
        file.truncate(mebibytes * MEBIBYTE)
    run(*MKFS[fstype], image)
    point.mkdir()
    run("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        # Of a test that failed, a program may still be at work there.
        assert eventually(lambda: subprocess.run(["umount", point], capture_output=True).returncode == 0)
        image.unlink()


@contextmanager
def thin_pool(where: Path) -> Iterator[str]:
    """A volume group of its own with a thin pool in it, as GROUP/POOL."""
    disk, group = where / "lvm.img", f"cl{os.getpid()}"
    with open(disk, "wb") as file:
        file.truncate(2048 * MEBIBYTE)
    device = run("losetup", "--find", "--show", disk).strip()
    try:
        run("vgcreate", group, device)
        run("lvcreate", "--type", "thin-pool", "--size", "1536M", "--name", "thin", group)
        yield f"{group}/thin"
    finally:
        run("vgremove", "--force", group)
        run("losetup", "--detach", device)


@contextmanager
def pool_of(kind: str, where: Path, *, mebibytes: int = 512) -> Iterator[Driver]:
    """A pool; `mebibytes` is the size of its file system, where it is one of its own."""
    name, _, fstype = kind.partition("-")
    fstype = "btrfs" if name == "btrfs" else fstype
    options = {"size": "256M"} if name == "loop" else {}
    if name == "lvm":
        with thin_pool(where) as place:
            pool = made(name, "p", place, {"size": "256M"})
            pool.prepare()
            yield pool
        return
    if not fstype:
        pool = made(name, "p", f"{where}/pool", options)
        pool.prepare()
        yield pool
        return
    with mounted(fstype, where, mebibytes) as point:
        pool = made(name, "p", f"{point}/pool", options)
        pool.prepare()
        yield pool


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pool(kind: str, tmp_path: Path) -> Iterator[Driver]:
    with pool_of(kind, tmp_path) as found:
        yield found


@pytest.fixture
def layers(tmp_path: Path) -> tuple[str, ...]:
    """An image of two layers: the upper one hides, replaces and takes away."""
    top, base = tmp_path / "layers/top", tmp_path / "layers/base"
    for path in (top / "etc", top / "var/opaque", base / "etc", base / "var/opaque", base / "bin", base / "gone/deep"):
        path.mkdir(parents=True)
    (base / "etc/passwd").write_text("root")
    (base / "etc/hostname").write_text("base")
    (top / "etc/hostname").write_text("top")
    (base / "etc/removed").write_text("hidden")
    os.mknod(top / "etc/removed", stat.S_IFCHR, 0)
    os.mknod(top / "gone", stat.S_IFCHR, 0)
    (base / "gone/deep/file").write_text("hidden")
    (base / "var/opaque/old").write_text("hidden")
    (top / "var/opaque/new").write_text("seen")
    os.setxattr(top / "var/opaque", "user.overlay.opaque", b"y")
    os.setxattr(base / "etc/passwd", "user.mark", b"kept")
    (base / "bin/ping").write_bytes(b"\x7fELF")
    os.link(base / "bin/ping", base / "bin/ping6")
    # cap_net_raw=ep: capabilities(7), struct vfs_cap_data
    os.setxattr(base / "bin/ping", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    (base / "bin/su").write_bytes(b"\x7fELF")
    os.chown(base / "bin/su", 0, 42)
    os.chmod(base / "bin/su", 0o4755)
    (base / "bin/link").symlink_to("/outside")
    os.utime(base / "etc", ns=(10**18, 10**18))
    os.utime(top / "etc", ns=(10**18, 10**18))
    return str(top), str(base)


Edit = Callable[[Driver, Tree], Path]


@contextmanager
def seen(pool: Driver, tree: Tree) -> Iterator[Path]:
    """The whole tree, for programs of the host."""
    with pool.opened(tree) as fd:
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")


def content(pool: Driver, tree: Tree) -> dict[str, object]:
    """All that there is in a tree, by path; of a long file its digest, as no failure could show all of it.

    Not by `Path.rglob`, which asks where links lead, and ends without a word at one that may not be followed, such as
    another's in a directory like /tmp (proc(5), protected_symlinks)."""
    found: dict[str, object] = {}
    with seen(pool, tree) as root:
        for above, directories, files in os.walk(root):
            for path in (Path(above, name) for name in (*directories, *files)):
                about = path.lstat()
                says: object = None
                if path.is_symlink():
                    says = os.readlink(path)
                elif stat.S_ISREG(about.st_mode):
                    data = path.read_bytes()
                    says = data if len(data) < 4096 else hashlib.sha256(data).hexdigest()
                kind = stat.S_IFMT(about.st_mode) | stat.S_IMODE(about.st_mode)
                found[str(path.relative_to(root))] = (kind, about.st_uid, about.st_gid, about.st_rdev, says)
    return found
