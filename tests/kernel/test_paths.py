import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloison.kernel import paths

RENAMER = """
import os, sys
while True:
    os.rename("x", "y")
    os.rename("y", "x")
"""


def test_renames_elsewhere_do_not_disturb(tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/link").symlink_to("a/b/../b/../../a/b")
    (tmp_path / "elsewhere/x").mkdir(parents=True)
    renamer = subprocess.Popen([sys.executable, "-I", "-c", RENAMER], cwd=tmp_path / "elsewhere")
    root = os.open(tmp_path / "root", os.O_PATH)
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            os.close(paths.open_in_root(root, "link", os.O_RDONLY))
    finally:
        os.close(root)
        renamer.kill()
        renamer.wait()


@pytest.mark.parametrize("path", ["/etc", "../elsewhere", "link", "link/a", "a/../../elsewhere"])
def test_what_is_opened_beneath_goes_through_directories_alone(tmp_path: Path, path: str) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "elsewhere/a").mkdir(parents=True)
    (tmp_path / "root/link").symlink_to("../elsewhere")
    root = os.open(tmp_path / "root", os.O_PATH)
    try:
        os.close(paths.open_beneath(root, b"a", os.O_RDONLY))
        with pytest.raises(OSError):
            paths.open_beneath(root, path, os.O_RDONLY)
    finally:
        os.close(root)


def test_where_a_directory_is_beneath_another_is_said(tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "rooted").mkdir()
    found = {name: os.open(tmp_path / name, os.O_PATH) for name in ("root", "root/a/b", "rooted")}
    try:
        assert paths.name_beneath(found["root"], found["root/a/b"]) == b"a/b"
        assert paths.name_beneath(found["root"], found["root"]) == b""
        with pytest.raises(ValueError):
            paths.name_beneath(found["root"], found["rooted"])
    finally:
        for fd in found.values():
            os.close(fd)
