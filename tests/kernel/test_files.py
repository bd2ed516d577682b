"""What a file system is asked to do, looked at from outside."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.kernel import files

GROUP_INODES = 1024


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    """A file system without a journal, of eight groups of GROUP_INODES inodes each."""
    disk, point = tmp_path / "disk", tmp_path / "point"
    point.mkdir()
    with open(disk, "wb") as file:
        file.truncate(64 << 20)
    form = ["-O", "^has_journal,^flex_bg,^resize_inode", "-g", "8192", "-N", str(8 * GROUP_INODES)]
    subprocess.run(["mkfs.ext4", "-q", "-F", *form, disk], check=True)
    told = subprocess.run(["dumpe2fs", "-h", disk], check=True, capture_output=True, text=True).stdout
    assert f"Inodes per group:         {GROUP_INODES}\n" in told
    subprocess.run(["mount", "-o", "loop", disk, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def groups(parent: Path) -> list[int]:
    """In which group of inodes each of five new trees of a few files is."""
    found: list[int] = []
    for number in range(5):
        tree = parent / f"tree{number}" / "inside"
        tree.mkdir(parents=True)
        for name in "abc":
            (tree / name).touch()
        found += {(path.stat().st_ino - 1) // GROUP_INODES for path in tree.parent.rglob("*")}
    return found


@pytest.mark.needs_root
def test_trees_of_a_scattered_directory_are_apart(ext4: Path) -> None:
    for name in ("plain", "apart"):
        (ext4 / name).mkdir()
    files.scatter(str(ext4 / "apart"))
    assert "T" in subprocess.run(["lsattr", "-d", ext4 / "apart"], capture_output=True, text=True).stdout.split()[0]
    assert len(set(groups(ext4 / "plain"))) == 1
    assert len(set(groups(ext4 / "apart"))) == 5


def test_where_there_is_no_such_wish_nothing_happens() -> None:
    files.scatter("/proc/self")
