"""Layers written as one tree are what overlayfs shows of them, and a difference is what it has written."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.images import ImageStore
from cloison.images.merging import difference, merged
from cloison.images.tar import writing
from tests.integration.images.conftest import portrait, ran

pytestmark = pytest.mark.needs_root
CHANGES = """
rm bin/su; rm -r usr/lib; mkdir usr/lib; echo new > usr/lib/new
rm etc/second-name; ln bin/busybox etc/twin; rm -r var/empty; ln -s /nowhere var/empty
mkdir -m 2750 srv; chown 7:8 srv; echo page > srv/page; mkfifo srv/pipe; mknod srv/zero c 1 5
truncate -s 8M srv/sparse; printf end | dd of=srv/sparse bs=1 seek=5000000 conv=notrunc status=none
chmod 4711 bin/serve
"""


@pytest.fixture
def over(tmp_path: Path, system: Path) -> Iterator[tuple[Path, Path, Path]]:
    """An overlay over `system`, which was changed in every way; its mount point, its upper directory, the lower one."""
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={system},upperdir={tmp_path}/upper,workdir={tmp_path}/work,userxattr"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", tmp_path / "merged"], check=True)
    top = tmp_path / "merged"
    try:
        subprocess.run(["sh", "-ec", CHANGES], cwd=top, check=True)
        os.setxattr(top / "srv/page", "user.x", b"y")
        yield top, tmp_path / "upper", system
    finally:
        subprocess.run(["umount", top], check=True)


def shown(place: Path) -> dict[str, tuple[object, ...]]:
    """As `portrait`; times of directories that overlayfs has merged are left out, and which names are one file."""
    return {
        name: (*facts[:3], *facts[4:6]) if stat.S_ISDIR(int(str(facts[0]))) else facts[:6]
        for name, facts in portrait(place).items()
    }


def test_a_merged_stream_is_what_overlayfs_shows(over: tuple[Path, Path, Path], tmp_path: Path) -> None:
    top, upper, lower = over
    out = tmp_path / "out"
    out.mkdir()
    packed = b"".join((*merged((str(upper), str(lower))), writing.END))
    assert len(packed) < 6 << 20  # holes are not written
    ran("tar", "-C", out, "--xattrs", "--xattrs-include=*", "-xpf", "-", stdin=packed)
    found, wanted = shown(out), shown(top)
    assert {
        name: (found.get(name), wanted.get(name)) for name in found | wanted if found.get(name) != wanted.get(name)
    } == {}
    assert (out / "srv/sparse").stat().st_blocks < 1000
    assert (out / "etc/twin").stat().st_ino == (out / "bin/busybox").stat().st_ino


def test_a_difference_is_a_layer_over_what_it_was_made_of(over: tuple[Path, Path, Path], tmp_path: Path) -> None:
    top, upper, lower = over
    with ImageStore(f"{tmp_path}/store").incoming() as work:
        layer = work.unpack(difference(str(upper)))
        place = Path(work.directories((layer,))[0])
        again = tmp_path / "again"
        again.mkdir()
        options = f"lowerdir={place}:{lower},userxattr"
        subprocess.run(["mount", "-t", "overlay", "-o", f"{options},ro", "overlay", again], check=True)
        try:
            assert shown(again) == shown(top)
        finally:
            subprocess.run(["umount", again], check=True)
