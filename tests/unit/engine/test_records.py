"""Names and id ranges: nobody gets what somebody has."""

import itertools
from pathlib import Path

import pytest

from cloison.base.errors import Exists, NotFound
from cloison.base.ids import RANGE
from cloison.engine import records
from cloison.engine.store import Store
from tests.unit.plan import worlds


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state.db"))


def add(store: Store, record: records.Record) -> None:
    with store.transaction() as changes:
        records.claim_name(changes, record.name, record.id)
        records.save(changes, record)


def test_a_record_is_found_by_name_and_by_id(store: Store) -> None:
    record = worlds.record("limits.memory=64M")
    add(store, record)
    assert records.load(store, record.name) == records.load(store, record.id) == record


def test_a_name_that_is_taken_is_refused_and_stays_with_its_owner(store: Store) -> None:
    record = worlds.record()
    add(store, record)
    with pytest.raises(Exists, match="already an instance 'web'"), store.transaction() as changes:
        records.claim_name(changes, "web", "another")
    assert records.load(store, "web") == record


def test_what_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        records.load(store, "nobody")


def test_a_name_that_is_no_text_is_not_there_either(store: Store) -> None:
    with pytest.raises(NotFound):
        records.load(store, "\udcff")


def test_two_instances_share_no_id(store: Store) -> None:
    with store.transaction() as changes:
        bases = [records.claim_range(changes, "", f"{n}") for n in range(50)]
    bases.sort()
    assert all(later - earlier >= RANGE for earlier, later in itertools.pairwise(bases))


def test_a_released_range_and_name_can_be_had_again(store: Store) -> None:
    with store.transaction() as changes:
        base = records.claim_range(changes, "", "a")
    record = worlds.record()
    record = type(record)(**{name: getattr(record, name) for name in record.__struct_fields__} | {"id_base": base})
    add(store, record)
    with store.transaction() as changes:
        records.release(changes, record)
    with store.transaction() as changes:
        assert records.claim_range(changes, "", "b") == base
        records.claim_name(changes, "web", "b")


def test_installations_below_a_root_of_their_own_begin_elsewhere(store: Store) -> None:
    with store.transaction() as changes:
        assert records.claim_range(changes, "/srv/a", "a") != records.claim_range(changes, "/srv/b", "b")
