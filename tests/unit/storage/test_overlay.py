"""Trees of the driver overlay, as directories; mounted they are tested in tests/integration/storage."""

import os
import stat
from pathlib import Path

import pytest

from cloison.base.errors import NotFound
from cloison.storage.driver import RootLayers, Tree
from cloison.storage.overlay import OverlayDriver


@pytest.fixture
def pool(tmp_path: Path) -> OverlayDriver:
    for name in ("top", "base"):
        (tmp_path / name).mkdir()
    made = OverlayDriver("default", f"{tmp_path}/pool")
    made.prepare()
    return made


@pytest.fixture
def tree(pool: OverlayDriver, tmp_path: Path) -> Tree:
    return pool.create((f"{tmp_path}/top", f"{tmp_path}/base"))


def test_the_upper_layer_is_open_to_the_guests_users_whatever_the_umask(pool: OverlayDriver, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        place = pool.place(pool.create((f"{tmp_path}/top",)).name)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(f"{place}/upper").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(f"{place}/work").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(place).st_mode) == stat.S_IMODE(os.stat(f"{tmp_path}/pool/trees").st_mode) == 0o700


def test_a_root_file_system_is_the_image_below_and_the_tree_above(
    pool: OverlayDriver, tree: Tree, tmp_path: Path
) -> None:
    root = pool.root(tree)
    assert root.lower == (f"{tmp_path}/top", f"{tmp_path}/base")
    assert root.writable == pool.place(tree.name)
    with pool.directories(tree) as found:
        assert found == RootLayers(root.lower, f"{root.writable}/upper")


def test_a_layer_that_is_gone_is_named(pool: OverlayDriver, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="missing: the image has just been removed"):
        pool.create((f"{tmp_path}/gone",))
    assert pool.names() == ()


def test_a_snapshot_of_one_that_is_stopped_moves_nothing(pool: OverlayDriver, tree: Tree) -> None:
    split = pool.snapshot(tree)
    assert split.frozen == Tree("default", tree.name, tree.lower, is_frozen=True)
    assert split.present.lower == (tree.name, *tree.lower)
    assert pool.root(split.present).lower[0] == f"{pool.place(tree.name)}/upper"
    clone = pool.clone(split.frozen)
    assert clone.lower == split.present.lower and clone.name != split.present.name


def test_what_is_below_a_tree_that_is_mentioned_stays(pool: OverlayDriver, tree: Tree) -> None:
    split = pool.snapshot(tree)
    other = pool.clone(split.frozen)
    assert pool.put_away([split.present]) == (other.name,)
    assert set(pool.names()) == {tree.name, split.present.name}
    assert set(pool.put_away([])) == {tree.name, split.present.name}
    assert pool.names() == ()


def test_what_has_been_put_away_is_swept(pool: OverlayDriver, tree: Tree, tmp_path: Path) -> None:
    Path(pool.place(tree.name), "upper", "file").write_text("gone")
    pool.put_away([])
    assert len(os.listdir(tmp_path / "pool/trash")) == 1
    pool.sweep()
    assert os.listdir(tmp_path / "pool/trash") == []


def test_a_tree_with_nothing_below_lies_on_an_empty_directory(pool: OverlayDriver, tmp_path: Path) -> None:
    assert pool.root(pool.create(())).lower == (f"{tmp_path}/pool/empty",)


def test_a_tree_that_is_not_there_is_refused(pool: OverlayDriver) -> None:
    with pytest.raises(NotFound, match="the pool default has no tree 0123"):
        pool.clone(Tree("default", "0123", is_frozen=True))


def test_a_destroyed_pool_leaves_nothing(pool: OverlayDriver, tree: Tree, tmp_path: Path) -> None:
    Path(pool.place(tree.name), "upper", "file").write_text("gone")
    pool.destroy()
    assert os.listdir(tmp_path / "pool") == []
