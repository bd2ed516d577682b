import os
import stat
from pathlib import Path

import pytest

from cloison.base.errors import Exists
from cloison.storage import RootLayers, clean, create, layers, remove, usage_bytes


@pytest.fixture
def instance(tmp_path: Path) -> str:
    create(f"{tmp_path}/web")
    return f"{tmp_path}/web"


def test_the_upper_layer_is_open_to_the_guests_users_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        create(f"{tmp_path}/web")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(f"{tmp_path}/web/upper").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(f"{tmp_path}/web/work").st_mode) == 0o700


def test_files_that_are_there_are_not_taken_over(instance: str) -> None:
    with pytest.raises(Exists):
        create(instance)


def test_a_root_filesystem_is_the_image_below_and_the_instance_above() -> None:
    assert layers(("/i/top", "/i/base"), "/d/web") == RootLayers(("/i/top", "/i/base"), "/d/web/upper", "/d/web/work")


def test_a_removed_instance_leaves_nothing(instance: str, tmp_path: Path) -> None:
    remove(instance)
    assert os.listdir(tmp_path) == []
    remove(instance)


def test_no_link_is_followed(instance: str, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "precious")
    (tmp_path / "precious" / "file").write_text("kept")
    os.symlink(tmp_path / "precious", f"{instance}/upper/directory")
    os.symlink("../../precious/file", f"{instance}/upper/file")
    remove(instance)
    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_directories_without_permissions_are_deleted(instance: str, tmp_path: Path) -> None:
    os.makedirs(f"{instance}/work/work/inner/most")
    os.chmod(f"{instance}/work/work/inner", 0)
    os.chmod(f"{instance}/work/work", 0)
    remove(instance)
    assert os.listdir(tmp_path) == []


def test_a_tree_deeper_than_any_path_is_deleted(instance: str, tmp_path: Path) -> None:
    fd = os.open(f"{instance}/upper", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert usage_bytes(instance) > 0
    remove(instance)
    assert os.listdir(tmp_path) == []


def test_directories_named_like_numbers_are_deleted(instance: str, tmp_path: Path) -> None:
    for name in ("1", "2/1", "2/3/2", "3", "0"):
        os.makedirs(f"{instance}/upper/{name}", exist_ok=True)
        open(f"{instance}/upper/{name}/file", "w").close()
    open(f"{instance}/1", "w").close()
    remove(instance)
    assert os.listdir(tmp_path) == []


def interrupted(_path: str) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_deletion_is_finished_later(
    instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open(f"{instance}/upper/file", "w").close()
    monkeypatch.setattr("cloison.storage.trees.delete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove(instance)
    monkeypatch.undo()
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".deleted-")
    assert clean(f"{tmp_path}") == (f"{tmp_path}/{left}",)
    assert os.listdir(tmp_path) == []
    assert clean(f"{tmp_path}/missing") == ()


def test_clean_touches_no_instance_that_lives(instance: str, tmp_path: Path) -> None:
    assert clean(f"{tmp_path}") == ()
    assert set(os.listdir(instance)) == {"upper", "work"}


def test_usage_grows_with_what_is_written_and_counts_a_file_once(instance: str) -> None:
    before = usage_bytes(instance)
    with open(f"{instance}/upper/file", "wb") as file:
        file.write(b"x" * 1_000_000)
    os.link(f"{instance}/upper/file", f"{instance}/upper/again")
    os.symlink("/usr", f"{instance}/upper/link")
    assert 1_000_000 <= usage_bytes(instance) - before < 1_100_000


def test_an_instance_without_files_uses_nothing(tmp_path: Path) -> None:
    assert usage_bytes(f"{tmp_path}/missing") == 0
