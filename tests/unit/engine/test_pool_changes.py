"""Pools that are made, changed and removed."""

import os
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import Busy, CloisonError, Exists, Invalid, NotFound
from cloison.engine import records
from cloison.engine.engine import Engine, open_engine
from cloison.engine.records import Record
from cloison.spec.config import Config


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_engine(f"{tmp_path}/root")


def test_a_pool_is_made_and_removed_with_all_that_was_made_for_it(engine: Engine, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "mine").write_text("kept")
    engine.pools.create("fast", "dir", source=str(place))
    engine.pools.create("here", "dir")
    assert [pool.name for pool in engine.pools.all()] == ["default", "fast", "here"]
    found = engine.pools.info("fast")
    assert (found.path, found.driver, found.trees, found.instances) == (str(place), "dir", 0, ())
    assert found.total_bytes is not None and found.free_bytes is not None
    engine.pools.remove("fast")
    engine.pools.remove("here")
    assert [pool.name for pool in engine.pools.all()] == ["default"]
    assert os.listdir(place) == ["mine"]
    assert not os.path.exists(f"{engine.layout.data}/storage/here")


def test_a_pool_with_files_of_somebody_stays(engine: Engine) -> None:
    engine.pools.create("fast", "dir")
    with engine.pools.making("fast") as pool:
        tree = pool.create(())
        made = Record("0123456789ab", "web", "container", "sha256:0", "tiny", 1, 0, Config(), tree=tree)
        with engine.store.transaction() as changes:
            records.save(changes, made)
    assert engine.pools.info("fast").instances == ("web",)
    with pytest.raises(Busy, match="fast has the files of web"):
        engine.pools.remove("fast")
    with engine.store.transaction() as changes:
        changes.delete("instances/0123456789ab")
        changes.put("snapshots/0123456789ab/one", msgspec.json.encode({"tree": tree}))
    with pytest.raises(Busy, match="fast has snapshots or volumes"):
        engine.pools.remove("fast")
    assert engine.pools.driver("fast").names() == (tree.name,)


def test_the_default_pool_stays(engine: Engine) -> None:
    with pytest.raises(Invalid, match="the storage pool default stays"):
        engine.pools.remove("default")
    with pytest.raises(Exists):
        engine.pools.create("default", "dir")


BAD = [
    (("fast", "floppy"), {}, "no storage driver 'floppy'"),
    (("a/b", "dir"), {}, "no name for a storage pool"),
    (("fast", "dir"), {"source": "relative"}, "absolute path"),
    (("fast", "dir"), {"source": "/nowhere/at/all"}, "there is no /nowhere/at/all"),
    (("fast", "dir"), {"source": "/etc/passwd"}, "no directory"),
    (("fast", "dir"), {"size": "1G"}, "--size is for"),
    (("fast", "dir"), {"options": ["size=1G"]}, "no option of the storage driver dir"),
    (("fast", "loop"), {"options": ["user_quotas=perhaps"]}, "write true or false"),
    (("fast", "loop"), {"size": "many"}, "size=many"),
    (("fast", "btrfs"), {"size": "1M"}, "at least 128M"),
    (("fast", "btrfs"), {"source": "/proc"}, "needs a btrfs, and /proc is on proc"),
]


@pytest.mark.parametrize(("words", "options", "said"), BAD)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    engine: Engine, words: tuple[str, ...], options: dict[str, str], said: str
) -> None:
    with pytest.raises(CloisonError, match=said):
        engine.pools.create(*words, **options)
    assert [pool.name for pool in engine.pools.all()] == ["default"]


def test_a_pool_is_made_once(engine: Engine) -> None:
    engine.pools.create("fast", "dir")
    with pytest.raises(Exists, match="already a storage pool 'fast'"):
        engine.pools.create("fast", "overlay")
    with pytest.raises(Exists, match="is the storage pool fast already"):
        engine.pools.create("other", "dir", source=engine.pools.info("fast").path)


def test_options_are_changed_for_what_comes(engine: Engine) -> None:
    engine.pools.create("disks", "loop", size="64M")
    assert engine.pools.set("disks", "size=128M").options == {"size": "128M"}
    assert engine.pools.get("disks").options == {"size": "128M"}
    with pytest.raises(Invalid, match="no option of the storage driver loop"):
        engine.pools.set("disks", "colour=red")
    with pytest.raises(NotFound):
        engine.pools.set("gone", "size=128M")


def test_a_directory_in_which_nothing_can_be_made_is_no_pool(engine: Engine) -> None:
    with pytest.raises(Invalid, match="--source /proc: nothing can be made in it"):
        engine.pools.create("fast", "dir", source="/proc")
    assert [pool.name for pool in engine.pools.all()] == ["default"]
