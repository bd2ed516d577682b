"""Deleting and counting trees that a guest has made."""

import os
from pathlib import Path

import pytest

from cloison.storage.trees import clean, remove, usage_bytes


@pytest.fixture
def tree(tmp_path: Path) -> str:
    os.makedirs(f"{tmp_path}/web/upper")
    return f"{tmp_path}/web"


def test_a_removed_tree_leaves_nothing(tree: str, tmp_path: Path) -> None:
    remove(tree)
    assert os.listdir(tmp_path) == []
    remove(tree)


def test_no_link_is_followed(tree: str, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "precious")
    (tmp_path / "precious" / "file").write_text("kept")
    os.symlink(tmp_path / "precious", f"{tree}/upper/directory")
    os.symlink("../../precious/file", f"{tree}/upper/file")
    remove(tree)
    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_directories_without_permissions_are_deleted(tree: str, tmp_path: Path) -> None:
    os.makedirs(f"{tree}/work/work/inner/most")
    os.chmod(f"{tree}/work/work/inner", 0)
    os.chmod(f"{tree}/work/work", 0)
    remove(tree)
    assert os.listdir(tmp_path) == []


def test_a_tree_deeper_than_any_path_is_deleted(tree: str, tmp_path: Path) -> None:
    fd = os.open(f"{tree}/upper", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert usage_bytes(tree) > 0
    remove(tree)
    assert os.listdir(tmp_path) == []


def test_directories_named_like_numbers_are_deleted(tree: str, tmp_path: Path) -> None:
    for name in ("1", "2/1", "2/3/2", "3", "0"):
        os.makedirs(f"{tree}/upper/{name}", exist_ok=True)
        open(f"{tree}/upper/{name}/file", "w").close()
    open(f"{tree}/1", "w").close()
    remove(tree)
    assert os.listdir(tmp_path) == []


def interrupted(_path: str) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_deletion_is_finished_later(tree: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open(f"{tree}/upper/file", "w").close()
    monkeypatch.setattr("cloison.storage.trees.delete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove(tree)
    monkeypatch.undo()
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".deleted-")
    assert clean(f"{tmp_path}") == (f"{tmp_path}/{left}",)
    assert os.listdir(tmp_path) == []
    assert clean(f"{tmp_path}/missing") == ()


def test_clean_touches_nothing_that_lives(tree: str, tmp_path: Path) -> None:
    assert clean(f"{tmp_path}") == ()
    assert os.listdir(tree) == ["upper"]


def test_usage_grows_with_what_is_written_and_counts_a_file_once(tree: str) -> None:
    before = usage_bytes(tree)
    with open(f"{tree}/upper/file", "wb") as file:
        file.write(b"x" * 1_000_000)
    os.link(f"{tree}/upper/file", f"{tree}/upper/again")
    os.symlink("/usr", f"{tree}/upper/link")
    assert 1_000_000 <= usage_bytes(tree) - before < 1_100_000


def test_what_is_not_there_uses_nothing(tmp_path: Path) -> None:
    assert usage_bytes(f"{tmp_path}/missing") == 0
