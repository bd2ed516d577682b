"""A failure of power, as the disk sees it: what was written to it until then is there, and nothing else."""

import contextlib
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.images.conftest import PROGRAM, ran

pytestmark = pytest.mark.needs_root


@contextlib.contextmanager
def mounted(disk: Path, point: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "loop", disk, point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", point], check=True)


def test_an_image_that_counts_is_whole_after_a_failure_of_power(root: Path, tmp_path: Path) -> None:
    """The file behind a loop device has what the file system on it has sent to the disk, and not what is in memory."""
    chance = random.Random(5)
    for number in range(200):
        directory = tmp_path / "tree" / f"d{number % 10}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(chance.randbytes(50_000))
    ran("tar", "-C", tmp_path / "tree", "-cf", tmp_path / "it.tar", ".")
    disk, after, images = tmp_path / "disk", tmp_path / "after", root / "lib/images"
    with open(disk, "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", disk], check=True)
    images.mkdir(parents=True)
    with mounted(disk, images):
        ran(PROGRAM, "image", "import", tmp_path / "it.tar", "it")
        shutil.copyfile(disk, after)
    with mounted(after, images):
        (image,) = json.loads(ran(PROGRAM, "image", "ls", "--json"))
        assert image["names"] == ["it"]
        ran(PROGRAM, "image", "verify", "it")
        ran(PROGRAM, "repair")
        ran(PROGRAM, "image", "verify", "it")
