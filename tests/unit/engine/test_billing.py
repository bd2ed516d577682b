"""Reports: who has which line, and the sum."""

from decimal import Decimal
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.engine import ledger
from cloison.engine.billing import By, report
from cloison.engine.ledger import Holder, Measured, Standing
from cloison.engine.store import Store
from cloison.spec import tariff
from cloison.spec.consumption import HOUR_NS
from cloison.spec.driver import Usage
from tests.unit.engine.test_ledger import NOON

PRICES = tariff.parse('currency = "EUR"\ndigits = 2\n[prices]\ncpu_hour = 0.005\n', where="t")
USED = (("a", "web", "shop", 0, HOUR_NS), ("b", "db", "shop", 0, HOUR_NS), ("a", "www", "blog", 1, 3 * HOUR_NS))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "state.db"))
    with store.transaction() as changes:
        for instance_id, name, project, hour, cpu_ns in USED:
            at_ns = NOON + hour * HOUR_NS
            ledger.book(
                changes,
                Holder(instance_id, name, project, 0),
                Standing(),
                Measured(Usage(cpu_ns=cpu_ns, memory_bytes=7), at_ns, at_ns + 1_800_000_000_000),
            )
    return store


def test_an_instance_has_a_line_in_each_project_with_the_name_that_it_had_last(store: Store) -> None:
    lines = report(store, NOON, NOON + 2 * HOUR_NS, by=By.INSTANCE).lines
    assert [(line.project, line.name, line.id, int(line.cpu_seconds)) for line in lines] == [
        ("blog", "www", "a", 10800),
        ("shop", "db", "b", 3600),
        ("shop", "www", "a", 3600),
    ]


def test_a_project_has_one_line(store: Store) -> None:
    found = report(store, NOON, NOON + 2 * HOUR_NS, by=By.PROJECT)
    assert [(line.project, line.id, int(line.cpu_seconds)) for line in found.lines] == [
        ("blog", "", 10800),
        ("shop", "", 7200),
    ]


def test_hours_that_were_begun_count_whole_and_the_report_says_which(store: Store) -> None:
    found = report(store, NOON + 5, NOON + 6, by=By.PROJECT)
    assert (found.begin, found.end) == ("2026-06-21T12:00:00Z", "2026-06-21T13:00:00Z")
    assert [line.project for line in found.lines] == ["shop"]


def test_byte_hours_are_rounded_only_at_the_end(store: Store) -> None:
    assert report(store, NOON, NOON + 2 * HOUR_NS, by=By.PROJECT).total.memory_byte_hours == 10  # 3 times 7 times 1/2


def test_a_sum_is_that_of_the_rounded_lines(store: Store) -> None:
    found = report(store, NOON, NOON + 2 * HOUR_NS, by=By.INSTANCE, tariff=PRICES)
    assert [line.amount for line in found.lines] == [Decimal("0.02"), Decimal("0.00"), Decimal("0.00")]
    assert (str(found.total.amount), found.currency) == ("0.02", "EUR")


def test_without_a_tariff_nothing_has_an_amount(store: Store) -> None:
    found = report(store, NOON, NOON + HOUR_NS, by=By.INSTANCE)
    assert {line.amount for line in (*found.lines, found.total)} == {None}


def test_of_a_time_in_which_nobody_did_anything_there_is_no_line(store: Store) -> None:
    found = report(store, 0, HOUR_NS, by=By.INSTANCE, tariff=PRICES)
    assert (found.lines, str(found.total.amount)) == ((), "0.00")


def test_a_report_that_ends_before_it_begins_is_refused(store: Store) -> None:
    with pytest.raises(Invalid, match="2026-06-21T12:00:00Z is not after 2026-06-21T13:00:00Z"):
        report(store, NOON + HOUR_NS, NOON, by=By.INSTANCE)
