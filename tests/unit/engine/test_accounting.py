"""Who books what, and that two who come at once book it once. The driver is a fake, store and files are real."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from cloison.engine import accounting, ledger, records
from cloison.engine.engine import Engine
from cloison.engine.layout import layout
from cloison.engine.pools import Pools
from cloison.engine.records import Record
from cloison.engine.store import Store
from cloison.spec.consumption import Consumption
from cloison.spec.driver import Observed, Reading, State, Usage
from tests.unit.plan import worlds

NOON = 495_012 * 3_600_000_000_000
SECOND_NS = 1_000_000_000
STOPPED = Observed(State.STOPPED)


def running(began_ns: int = NOON) -> Observed:
    return Observed(State.RUNNING, 42, 41, began_ns)


class FakeDriver:
    """Says what it is told to say; `meanwhile` happens while it is asked."""

    def __init__(self) -> None:
        self.observed = running()
        self.used = Usage(cpu_ns=5, memory_bytes=100, oom_kills=0)
        self.at_ns = NOON + SECOND_NS
        self.meanwhile: Callable[[], None] = lambda: None

    def observe(self, _instance_id: str) -> Observed:
        return self.observed

    def usage(self, _instance_id: str, _observed: Observed | None = None) -> Usage:
        self.meanwhile()
        return self.used

    def readings(self, instance_ids: Iterable[str]) -> dict[str, Reading]:
        found = {name: Reading(self.observed, self.used, self.at_ns, self.at_ns) for name in instance_ids}
        happening, self.meanwhile = self.meanwhile, lambda: None
        happening()
        return found

    def recorded_usage(self, record: bytes) -> Usage:
        return msgspec.json.decode(record, type=Usage)


class FakeEngine:
    def __init__(self, root: Path) -> None:
        self.layout = layout(str(root))
        self.layout.make()
        self.store = Store(self.layout.store)
        self.driver = FakeDriver()
        self.pools = Pools(cast(Engine, self))


class Place:
    """One instance, the files that its monitor leaves, and what the ledger says of it."""

    def __init__(self, root: Path) -> None:
        self.fake = FakeEngine(root)
        self.engine = cast(Engine, self.fake)
        self.driver = self.fake.driver
        self.record: Record = msgspec.structs.replace(worlds.record(), created_ns=NOON)
        self.directory = Path(self.fake.layout.instance(self.record.id))
        self.directory.mkdir(parents=True)
        with self.fake.store.transaction() as changes:
            records.save(changes, self.record)

    def leave(self, usage: Usage, *, ended_ns: int, began_ns: int = NOON) -> None:
        """What a monitor does at the end: written beside and renamed, the usage first."""
        for name, text in (
            ("exit.usage", msgspec.json.encode(usage)),
            ("exit", f"status 0\nstarted_ns {began_ns}\nended_ns {ended_ns}\n".encode()),
        ):
            beside = self.directory / f"{name}.new"
            beside.write_bytes(text)
            os.utime(beside, ns=(ended_ns, ended_ns))
            beside.rename(self.directory / name)
        self.driver.observed = STOPPED

    def sample(self, at_s: float = 1, **used: int) -> None:
        self.driver.at_ns = NOON + round(at_s * SECOND_NS)
        self.driver.used = Usage(**used) if used else self.driver.used
        accounting.sample(self.engine, (self.record,))

    def settle(self) -> None:
        accounting.settle(self.engine, self.record)

    def used(self) -> Consumption:
        found = ledger.entries(self.fake.store, 0, NOON * 2)
        return sum((bucket.used for _, _, bucket in found), Consumption())

    def told(self) -> list[str]:
        return [event.what for event in self.fake.store.events(self.record.id)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.fake.store.close()


def test_a_sample_books_what_is_running(place: Place) -> None:
    place.sample(10)
    assert place.used() == Consumption(cpu_ns=5, memory_byte_s=1000)


def test_the_end_of_a_run_books_the_rest_of_it(place: Place) -> None:
    place.sample(10)
    place.leave(Usage(cpu_ns=8, memory_bytes=1), ended_ns=NOON + 20 * SECOND_NS)
    place.settle()
    assert place.used() == Consumption(cpu_ns=8, memory_byte_s=2000)


def test_an_end_is_booked_once_however_often_it_is_settled(place: Place) -> None:
    place.leave(Usage(cpu_ns=8), ended_ns=NOON + SECOND_NS)
    for _ in range(3):
        place.settle()
    assert place.used().cpu_ns == 8


def test_two_who_have_read_the_same_record_book_it_once(place: Place) -> None:
    place.leave(Usage(cpu_ns=8), ended_ns=NOON + SECOND_NS)
    with (
        accounting.left_by(place.engine, place.record) as one,
        accounting.left_by(place.engine, place.record) as other,
    ):
        for book in (one, other):
            with place.fake.store.transaction() as changes:
                book(changes)
    assert place.used().cpu_ns == 8


def test_who_dies_before_it_is_booked_leaves_it_to_the_next(place: Place) -> None:
    place.leave(Usage(cpu_ns=8), ended_ns=NOON + SECOND_NS)
    with pytest.raises(KeyboardInterrupt), accounting.left_by(place.engine, place.record):
        raise KeyboardInterrupt
    place.settle()
    assert place.used().cpu_ns == 8


def test_a_record_of_the_next_run_that_comes_meanwhile_is_not_taken_for_booked(place: Place) -> None:
    place.leave(Usage(cpu_ns=8), ended_ns=NOON + SECOND_NS)
    with accounting.left_by(place.engine, place.record) as book, place.fake.store.transaction() as changes:
        book(changes)
        later = NOON + 2 * SECOND_NS
        place.leave(Usage(cpu_ns=3), began_ns=later, ended_ns=later + SECOND_NS)
    place.settle()
    assert place.used().cpu_ns == 11


def test_every_run_counts_whole(place: Place) -> None:
    for run in range(3):
        began_ns = NOON + run * 100 * SECOND_NS
        place.driver.observed = running(began_ns)
        place.sample(run * 100 + 10, cpu_ns=50 - run)
        place.leave(Usage(cpu_ns=60), began_ns=began_ns + 1, ended_ns=began_ns + 20 * SECOND_NS)
        place.settle()
    assert place.used().cpu_ns == 180


def test_a_run_that_nobody_has_read_counts_whole_after_one_that_was_lost(place: Place) -> None:
    place.sample(10, cpu_ns=50)  # then the machine crashes: no record of this run
    began_ns = NOON + 100 * SECOND_NS
    place.leave(Usage(cpu_ns=60), began_ns=began_ns, ended_ns=began_ns + SECOND_NS)
    place.settle()
    assert place.used().cpu_ns == 110


def test_a_reading_that_another_overtook_is_dropped(place: Place) -> None:
    place.sample(1, cpu_ns=5)
    place.driver.meanwhile = lambda: place.sample(3, cpu_ns=9)
    place.sample(2, cpu_ns=7)
    assert place.used().cpu_ns == 9


def test_a_reading_that_the_end_overtook_is_dropped(place: Place) -> None:
    def ends() -> None:
        place.leave(Usage(cpu_ns=9), ended_ns=NOON + 3 * SECOND_NS)
        place.settle()

    place.driver.meanwhile = ends
    place.sample(2, cpu_ns=7)
    assert place.used().cpu_ns == 9


def test_a_reading_of_what_was_deleted_meanwhile_is_dropped(place: Place) -> None:
    def is_deleted() -> None:
        with place.fake.store.transaction() as changes:
            accounting.close(changes, place.record, 0)
            records.release(changes, place.record)

    place.driver.meanwhile = is_deleted
    place.sample(2)
    assert place.used().cpu_ns == 0
    assert place.fake.store.list(ledger.SAMPLES) == ()


def test_what_was_consumed_outlives_the_instance_under_its_name(place: Place) -> None:
    place.sample(2)
    with place.fake.store.transaction() as changes:
        accounting.close(changes, place.record, 4096)
        records.release(changes, place.record)
    [(instance_id, project, bucket), *_] = ledger.entries(place.fake.store, 0, NOON * 2)
    assert (instance_id, project, bucket.name) == (place.record.id, "default", "web")
    assert place.used().cpu_ns == 5


def test_what_is_stopped_books_nothing_but_its_disk(place: Place) -> None:
    place.driver.observed = STOPPED
    place.sample(2)
    assert place.fake.store.list(ledger.BUCKETS) == ()
    accounting.sample(place.engine, (place.record,), with_disk=True)
    assert ledger.standing_of(place.fake.store, place.record.id).disk_bytes is not None


def test_a_dead_monitors_groups_are_booked_once_with_memory_up_to_the_last_look(place: Place) -> None:
    place.sample(10, cpu_ns=5, memory_bytes=100)
    with place.fake.store.transaction() as changes:
        accounting.book_death(changes, place.record, NOON, Usage(cpu_ns=9, memory_bytes=100))
    assert place.used() == Consumption(cpu_ns=9, memory_byte_s=1000)


def test_a_dead_monitor_that_left_its_record_is_booked_by_that_alone(place: Place) -> None:
    place.leave(Usage(cpu_ns=9), ended_ns=NOON + SECOND_NS)
    place.settle()
    with place.fake.store.transaction() as changes:
        accounting.book_death(changes, place.record, NOON, Usage(cpu_ns=9))
    assert place.used().cpu_ns == 9


def test_an_alarm_waits_for_the_kill_and_tells_it_once(place: Place) -> None:
    looks = iter((0, 0, 1, 1))

    def looked() -> None:
        place.driver.used = Usage(oom_kills=next(looks))

    place.driver.meanwhile = looked
    for _ in range(2):
        accounting.after_alarm(place.engine, place.record)
        place.driver.meanwhile = lambda: None
        if place.told() != ["oom-killed"]:
            pytest.fail(f"told {place.told()}")
        place.driver.observed = STOPPED  # the second finds that it has ended


def test_an_alarm_of_an_init_that_was_killed_is_settled_from_its_record(place: Place) -> None:
    place.leave(Usage(oom_kills=1), ended_ns=NOON + SECOND_NS)
    accounting.after_alarm(place.engine, place.record)
    assert place.told() == ["oom-killed"]


def test_an_alarm_without_a_kill_is_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "ALARM_PATIENCE_S", 0.0)
    accounting.after_alarm(place.engine, place.record)
    assert place.told() == []


def test_the_statistics_are_those_of_one_cpu_since_the_start(place: Place) -> None:
    place.driver.at_ns = NOON + 10 * SECOND_NS
    place.driver.used = Usage(cpu_ns=5 * SECOND_NS)
    [found] = accounting.stats(place.engine, (place.record,))
    assert (found.cpu_percent, found.uptime_s, found.started) == (50.0, 10.0, "2026-06-21T12:00:00Z")


def test_statistics_that_are_not_booked_leave_the_ledger_alone(place: Place) -> None:
    accounting.stats(place.engine, (place.record,), is_booked=False)
    assert place.fake.store.list(ledger.SAMPLES) == ()
