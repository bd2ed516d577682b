"""Who mentions trees, and what happens to those that nobody mentions."""

import os
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import Busy, NotFound
from cloison.engine import records
from cloison.engine.engine import Engine, open_engine
from cloison.engine.records import Record, tree_of
from cloison.spec.config import Config
from cloison.storage.driver import Tree


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    (tmp_path / "image").mkdir()
    return open_engine(str(tmp_path))


def stored(engine: Engine, tmp_path: Path, tree: Tree | None, instance_id: str = "0123456789ab") -> Record:
    layers = (f"{tmp_path}/image",)
    made = Record(instance_id, "web", "container", "sha256:0", "tiny", 1, 0, Config(), layers=layers, tree=tree)
    with engine.store.transaction() as changes:
        records.save(changes, made)
    return made


def test_a_tree_whose_record_was_never_written_is_deleted(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), engine.pools.making("default") as pool:
        pool.create((f"{tmp_path}/image",))
        raise KeyboardInterrupt
    assert engine.pools.driver("default").names() == ()


def test_one_that_a_record_mentions_stays(engine: Engine, tmp_path: Path) -> None:
    with engine.pools.making("default") as pool:
        kept = pool.create((f"{tmp_path}/image",))
        stored(engine, tmp_path, kept)
        lost = pool.create((f"{tmp_path}/image",))
    assert engine.pools.collect("default") == (lost.name,)
    assert engine.pools.driver("default").names() == (kept.name,)


def test_snapshots_and_volumes_mention_trees_too(engine: Engine, tmp_path: Path) -> None:
    with engine.pools.making("default") as pool:
        made = [pool.create((f"{tmp_path}/image",)) for _ in range(2)]
        with engine.store.transaction() as changes:
            changes.put("snapshots/0123456789ab/before", msgspec.json.encode({"tree": made[0], "expires": 7}))
            changes.put("volumes/data", msgspec.json.encode({"tree": made[1]}))
    assert engine.pools.collect("default") == ()


def test_nothing_is_deleted_while_somebody_makes_a_tree_and_he_does_it_then(engine: Engine, tmp_path: Path) -> None:
    with engine.pools.making("default") as pool:
        forgotten = pool.create((f"{tmp_path}/image",))
        assert engine.pools.collect("default") == ()
        assert pool.names() == (forgotten.name,)
    assert engine.pools.driver("default").names() == ()


def test_an_image_cannot_go_while_a_tree_is_being_made(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloison.engine.pools.LOCK_PATIENCE_S", 0.05)
    refused = pytest.raises(Busy, match="making an instance or a snapshot")
    with engine.pools.making("default"), refused, engine.pools.still():
        raise AssertionError


def test_the_files_of_an_instance_of_before_become_its_tree(engine: Engine, tmp_path: Path) -> None:
    record = stored(engine, tmp_path, None)
    directory = Path(engine.layout.instance(record.id))
    (directory / "work").mkdir(parents=True)
    (directory / "upper").mkdir()
    (directory / "upper/file").write_text("kept")
    (directory / "console.log").write_text("said")
    assert engine.pools.used_bytes(record) > 0
    adopted = engine.pools.adopt(record)
    assert adopted.tree == tree_of(record) == Tree("default", record.id, record.layers)
    place = Path(engine.pools.driver("default").root(tree_of(record)).writable)
    assert (place / "upper/file").read_text() == "kept" and (place / "work").is_dir()
    assert os.listdir(directory) == ["console.log"]
    assert records.load(engine.store, record.id) == adopted
    assert engine.pools.collect("default") == ()


def test_who_died_while_adopting_is_followed_by_who_goes_on(engine: Engine, tmp_path: Path) -> None:
    record = stored(engine, tmp_path, None)
    Path(engine.layout.instance(record.id), "upper").mkdir(parents=True)
    place = Path(engine.pools.driver("default").root(tree_of(record)).writable)
    (place / "work").mkdir(parents=True)
    assert engine.pools.collect("default") == ()
    assert engine.pools.adopt(record).tree is not None
    assert sorted(os.listdir(place)) == ["upper", "work"]


def test_a_pool_that_is_not_there_is_named(engine: Engine) -> None:
    with pytest.raises(NotFound, match="no storage pool 'fast'"):
        engine.pools.driver("fast")
