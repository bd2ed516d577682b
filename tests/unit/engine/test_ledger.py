"""What is booked into which hour, of which run, and that nothing is counted twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.engine import ledger
from cloison.engine.ledger import Holder, Measured, Standing
from cloison.engine.store import Store
from cloison.spec.consumption import HOUR_NS, Consumption
from cloison.spec.driver import Usage

MINUTE_NS = HOUR_NS // 60
SECOND_NS = 1_000_000_000
NOON = 495_012 * HOUR_NS  # 2026-06-21T12:00:00Z
WEB = Holder("c0ffee000001", "web", "default", NOON - HOUR_NS)
MIB = 1 << 20

Book = Callable[..., Standing]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state.db"))


@pytest.fixture
def book(store: Store) -> Book:
    def booked(
        at_ns: int, usage: Usage, *, run_ns: int = NOON, before: Standing | None = None, is_last: bool = False
    ) -> Standing:
        with store.transaction() as changes:
            known = ledger.standing_of(changes, WEB.id) if before is None else before
            now = ledger.book(changes, WEB, known, Measured(usage, run_ns, at_ns, is_last=is_last))
            ledger.put_standing(changes, WEB.id, now)
        return now

    return booked


def used(store: Store, begin_ns: int = 0, end_ns: int = NOON + 10_000 * HOUR_NS) -> Consumption:
    return sum((bucket.used for _, _, bucket in ledger.entries(store, begin_ns, end_ns)), Consumption())


def told(store: Store) -> list[str]:
    return [event.detail for event in store.events(WEB.id) if event.what == "oom-killed"]


def test_the_first_reading_of_a_run_counts_from_zero(store: Store, book: Book) -> None:
    book(NOON + MINUTE_NS, Usage(cpu_ns=5, read_bytes=7, sent_bytes=9))
    assert used(store) == Consumption(cpu_ns=5, read_bytes=7, sent_bytes=9)


def test_the_next_counts_what_came_since(store: Store, book: Book) -> None:
    for minute, cpu_ns in ((1, 5), (2, 5), (3, 12)):
        book(NOON + minute * MINUTE_NS, Usage(cpu_ns=cpu_ns))
    assert used(store).cpu_ns == 12


def test_a_new_run_counts_from_zero_again_even_if_it_has_used_more(store: Store, book: Book) -> None:
    book(NOON + MINUTE_NS, Usage(cpu_ns=5))
    book(NOON + 5 * MINUTE_NS, Usage(cpu_ns=30), run_ns=NOON + 2 * MINUTE_NS)
    assert used(store).cpu_ns == 35


def test_a_counter_that_fell_began_anew(store: Store, book: Book) -> None:
    book(NOON + MINUTE_NS, Usage(cpu_ns=50, read_bytes=100))
    book(NOON + 2 * MINUTE_NS, Usage(cpu_ns=60, read_bytes=10))
    assert (used(store).cpu_ns, used(store).read_bytes) == (60, 110)


def test_a_counter_that_could_not_be_read_once_is_counted_the_next_time(store: Store, book: Book) -> None:
    for minute, cpu_ns in ((1, 5), (2, None), (3, 12)):
        book(NOON + minute * MINUTE_NS, Usage(cpu_ns=cpu_ns))
    assert used(store).cpu_ns == 12


def test_after_the_end_of_a_run_the_next_begins_at_zero(store: Store, book: Book) -> None:
    book(NOON + MINUTE_NS, Usage(cpu_ns=5))
    book(NOON + 2 * MINUTE_NS, Usage(cpu_ns=8), is_last=True)
    book(NOON + 4 * MINUTE_NS, Usage(cpu_ns=9), run_ns=NOON + 3 * MINUTE_NS)
    assert used(store).cpu_ns == 17


def test_a_reading_goes_into_the_hours_that_it_spans_in_proportion(store: Store, book: Book) -> None:
    book(NOON + 30 * MINUTE_NS, Usage(cpu_ns=0, memory_bytes=MIB))
    book(NOON + 150 * MINUTE_NS, Usage(cpu_ns=120, memory_bytes=MIB))
    hours = [used(store, NOON + hour * HOUR_NS, NOON + (hour + 1) * HOUR_NS) for hour in range(3)]
    assert [hour.cpu_ns for hour in hours] == [30, 60, 30]
    assert [hour.memory_byte_s for hour in hours] == [3600 * MIB, 3600 * MIB, 1800 * MIB]


def test_an_interval_from_before_the_clock_was_set_fills_no_half_million_hours() -> None:
    parts = list(ledger.by_hour(Consumption(cpu_ns=10**9), 0, NOON))
    assert len(parts) == ledger.LONGEST_NS // HOUR_NS
    assert sum(part.cpu_ns for _, part in parts) == 10**9


@given(
    st.integers(0, 3 * HOUR_NS), st.integers(0, 50 * HOUR_NS), st.lists(st.integers(0, 10**15), min_size=7, max_size=7)
)
def test_however_it_is_split_nothing_is_lost_and_nothing_added(begin: int, span: int, numbers: list[int]) -> None:
    all_of_it = Consumption(*numbers)
    parts = list(ledger.by_hour(all_of_it, NOON + begin, NOON + begin + span))
    assert sum((part for _, part in parts), Consumption()) == all_of_it
    assert all(getattr(part, name) >= 0 for _, part in parts for name in part.__struct_fields__)
    assert all(NOON + begin - HOUR_NS < hour_ns < NOON + begin + max(span, 1) for hour_ns, _ in parts)


def test_memory_between_two_readings_is_their_mean(store: Store, book: Book) -> None:
    book(NOON, Usage(memory_bytes=2 * MIB))
    book(NOON + 10 * SECOND_NS, Usage(memory_bytes=4 * MIB))
    assert used(store).memory_byte_s == 30 * MIB


def test_memory_before_the_first_reading_is_that_of_the_reading(store: Store, book: Book) -> None:
    book(NOON + 10 * SECOND_NS, Usage(memory_bytes=4 * MIB))
    assert used(store).memory_byte_s == 40 * MIB


def test_memory_to_the_end_is_that_of_the_last_reading(store: Store, book: Book) -> None:
    book(NOON, Usage(memory_bytes=4 * MIB))
    book(NOON + 10 * SECOND_NS, Usage(memory_bytes=4096, memory_peak_bytes=90 * MIB), is_last=True)
    assert used(store).memory_byte_s == 40 * MIB


def test_a_run_that_nobody_has_read_counts_with_its_peak(store: Store, book: Book) -> None:
    book(NOON + 10 * SECOND_NS, Usage(memory_bytes=4096, memory_peak_bytes=9 * MIB), is_last=True)
    assert used(store).memory_byte_s == 90 * MIB


def test_while_it_does_not_run_it_holds_no_memory(store: Store, book: Book) -> None:
    book(NOON + 10 * SECOND_NS, Usage(memory_bytes=MIB), is_last=True)
    book(NOON + HOUR_NS, Usage(memory_bytes=MIB), run_ns=NOON + HOUR_NS)
    assert used(store).memory_byte_s == 10 * MIB


def test_a_clock_that_was_set_back_makes_no_negative_hours(store: Store, book: Book) -> None:
    book(NOON + HOUR_NS, Usage(cpu_ns=5, memory_bytes=MIB))
    before = used(store)
    book(NOON + MINUTE_NS, Usage(cpu_ns=9, memory_bytes=MIB))
    assert used(store) - before == Consumption(cpu_ns=4)


def test_disk_is_held_whether_it_runs_or_not(store: Store) -> None:
    standing = Standing()
    with store.transaction() as changes:
        standing = ledger.book_disk(changes, WEB, standing, 2 * MIB, NOON)
        ledger.book_disk(changes, WEB, standing, 4 * MIB, NOON + 10 * SECOND_NS)
    assert used(store).disk_byte_s == 2 * MIB * 3600 + 30 * MIB


def test_each_project_has_its_own_bucket_in_an_hour(store: Store) -> None:
    with store.transaction() as changes:
        for project, cpu_ns in (("default", 1), ("shop", 2)):
            holder = Holder(WEB.id, "web", project, 0)
            ledger.book(changes, holder, Standing(), Measured(Usage(cpu_ns=cpu_ns), NOON, NOON))
    assert [(project, bucket.used.cpu_ns) for _, project, bucket in ledger.entries(store, NOON, NOON + 1)] == [
        ("default", 1),
        ("shop", 2),
    ]


def test_only_the_hours_that_were_asked_for_are_there(store: Store, book: Book) -> None:
    book(NOON + MINUTE_NS, Usage(cpu_ns=5))
    assert used(store, 0, NOON) == used(store, NOON + HOUR_NS, NOON + 2 * HOUR_NS) == Consumption()
    assert used(store, NOON + MINUTE_NS, NOON + 2 * MINUTE_NS).cpu_ns == 5


def test_each_kill_is_told_once(store: Store, book: Book) -> None:
    for minute, kills in ((1, 0), (2, 2), (3, 2), (4, 3)):
        book(NOON + minute * MINUTE_NS, Usage(oom_kills=kills))
    assert told(store) == ["2 killed, 2 since its start", "1 killed, 3 since its start"]


def test_a_kill_at_the_very_end_is_told_too_and_remembered(store: Store, book: Book) -> None:
    standing = book(NOON + MINUTE_NS, Usage(oom_kills=1), is_last=True)
    assert told(store) == ["1 killed, 1 since its start"]
    assert standing.oom_kills == 1


def test_a_kill_is_not_told_again_after_a_look_at_a_run_that_is_half_gone(store: Store, book: Book) -> None:
    for minute, kills in ((1, 3), (2, 0), (3, 3)):
        book(NOON + minute * MINUTE_NS, Usage(oom_kills=kills), is_last=minute == 3)
    assert told(store) == ["3 killed, 3 since its start"]


def test_the_kills_of_the_next_run_are_counted_from_zero(store: Store, book: Book) -> None:
    book(NOON + MINUTE_NS, Usage(oom_kills=2), is_last=True)
    book(NOON + 3 * MINUTE_NS, Usage(oom_kills=2), run_ns=NOON + 2 * MINUTE_NS)
    assert told(store) == ["2 killed, 2 since its start"] * 2
