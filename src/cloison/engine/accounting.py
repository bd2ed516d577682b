"""Reading what instances consume, and booking it into the ledger: by whatever runs, since there is no daemon.

    while it runs    `stats`, `top`, `ledger sample`, `ledger report`, and its monitor's alarm (`_oom`)
    when it ended    the monitor leaves `<data>/instances/<id>/exit.usage`; who comes first books it: the stop that
                     asked for the end, the next start, `stats`, `ledger`, `info` or the deletion
    when it died     a killed monitor leaves nothing; its groups are read before they are taken back

Two who read at once do not count twice: a reading is booked only where nothing was booked since before it was taken
(the revision of `samples/<id>`), and a record is made read-only once it is booked, through the descriptor that it was
read by: the record of a later run is another file. (To empty or to remove it takes a file system milliseconds.)
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.engine import inspection, ledger, remains
from cloison.engine.ledger import Holder, Measured
from cloison.engine.records import Record
from cloison.engine.results import Stats
from cloison.engine.store import Entry, Transaction
from cloison.spec.driver import Reading, State, Usage

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

ALARM_PATIENCE_S = 1.0  # how long the kernel may take from being out of memory to having killed somebody
ALARM_PAUSE_S = 0.02
MAX_RECORD = 1 << 20  # bytes: the monitor writes at most 16 KiB of each of a few files
RUNNING = (State.RUNNING, State.FROZEN, State.STOPPING)
Book = Callable[[Transaction], None]


class Left(msgspec.Struct, frozen=True):
    """The record that a monitor left at the end of a run, and when it did; `fd` is the file that it was read from."""

    fd: int
    usage: Usage
    time_ns: int


def holder(record: Record) -> Holder:
    """Whose consumption an instance's is, at this moment."""
    return Holder(record.id, record.name, record.in_force.accounting.project, record.created_ns)


# --- at the end of a run ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def left_by(engine: "Engine", record: Record) -> Iterator[Book]:
    """What books the record of the last run, if there is one, in a transaction; it is marked when the block is left."""
    directory = engine.layout.instance(record.id)
    left = _read_left(engine, f"{directory}/{remains.USAGE}") if remains.has_left_usage(directory) else None
    if left is None:
        yield lambda _changes: None
        return
    try:
        yield lambda changes: _book_left(engine, changes, record, left)
        os.fchmod(left.fd, remains.BOOKED)
    finally:
        os.close(left.fd)


def settle(engine: "Engine", record: Record) -> None:
    """Book the record of the last run, if there is one."""
    if remains.has_left_usage(engine.layout.instance(record.id)):
        with left_by(engine, record) as book, engine.store.transaction() as changes:
            book(changes)


def _read_left(engine: "Engine", path: str) -> Left | None:
    """The record, with its descriptor, which the caller owns; None where it has been deleted just now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return Left(fd, engine.driver.recorded_usage(os.read(fd, MAX_RECORD)), os.fstat(fd).st_mtime_ns)
    except BaseException:
        os.close(fd)
        raise


def _book_left(engine: "Engine", changes: Transaction, record: Record, left: Left) -> None:
    before = ledger.standing_of(changes, record.id)
    if before.record_ns == left.time_ns:
        return  # another has booked it since we read it
    ended = remains.read_exit(f"{engine.layout.instance(record.id)}/exit")
    began_ns = ended.started_ns if ended is not None else 0
    # What was read of this run was read after its init had begun.
    run_ns = before.run_ns if before.run_ns and before.time_ns >= began_ns else began_ns
    now = ledger.book(changes, holder(record), before, Measured(left.usage, run_ns, left.time_ns, is_last=True))
    ledger.put_standing(changes, record.id, msgspec.structs.replace(now, record_ns=left.time_ns))


def book_death(changes: Transaction, record: Record, began_ns: int, usage: Usage) -> None:
    """Book what the groups of a run have counted whose monitor has died, unless it had got as far as to leave a record.

    Nobody knows when that was: its memory counts up to when it was read last."""
    before = ledger.standing_of(changes, record.id)
    if before.record_ns >= began_ns:
        return
    seen_ns = before.time_ns if before.run_ns == began_ns else began_ns
    now = ledger.book(changes, holder(record), before, Measured(usage, began_ns, seen_ns, is_last=True))
    ledger.put_standing(changes, record.id, now)


def close(changes: Transaction, record: Record, disk_bytes: int) -> None:
    """The instance is deleted: book its disk to this moment, and forget what only the next reading would need."""
    before = ledger.standing_of(changes, record.id)
    ledger.book_disk(changes, holder(record), before, disk_bytes, time.time_ns())
    ledger.forget(changes, record.id)


# --- while it runs ------------------------------------------------------------------------------------------------


def sample(engine: "Engine", instances: Iterable[Record], *, with_disk: bool = False) -> dict[str, Reading]:
    """Read what the instances consume and book it, in one transaction; `with_disk` measures their files too, which
    takes as long as there are many. Gives the readings, by id."""
    known = tuple(instances)
    for record in known:
        settle(engine, record)
    before = {entry.key.removeprefix(ledger.SAMPLES): entry for entry in engine.store.list(ledger.SAMPLES)}
    readings = engine.driver.readings(record.id for record in known)
    disks = {record.id: _disk(engine, record) for record in known} if with_disk else {}
    news = [record for record in known if record.id in disks or readings[record.id].observed.state in RUNNING]
    if news:
        with engine.store.transaction() as changes:
            for record in news:
                _book_reading(changes, record, before.get(record.id), readings[record.id], disks.get(record.id))
    return readings


def _book_reading(
    changes: Transaction, record: Record, before: Entry | None, reading: Reading, disk: tuple[int, int] | None
) -> None:
    present = changes.get(f"{ledger.SAMPLES}{record.id}")
    if (present and present.revision) != (before and before.revision):
        return  # somebody has booked it since, or it has been deleted
    if changes.get(f"instances/{record.id}") is None:
        return
    now = ledger.standing(present.value if present else None)
    if reading.observed.state in RUNNING and reading.observed.began_ns:
        measured = Measured(reading.usage, reading.observed.began_ns, reading.time_ns)
        now = ledger.book(changes, holder(record), now, measured)
    if disk is not None:
        now = ledger.book_disk(changes, holder(record), now, *disk)
    ledger.put_standing(changes, record.id, now)


def _disk(engine: "Engine", record: Record) -> tuple[int, int]:
    """The bytes that its own files take, and when that was."""
    return engine.pools.used_bytes(record), time.time_ns()


def stats(engine: "Engine", instances: Iterable[Record], *, is_booked: bool = True) -> tuple[Stats, ...]:
    """What each of them uses now; booked into the ledger, or only read."""
    known = tuple(instances)
    readings = sample(engine, known) if is_booked else engine.driver.readings(record.id for record in known)
    return tuple(_stats(engine, record, readings[record.id]) for record in known)


def _stats(engine: "Engine", record: Record, reading: Reading) -> Stats:
    observed, usage = reading.observed, reading.usage
    is_up = observed.state in RUNNING and observed.began_ns > 0
    up_ns = max(1, reading.time_ns - observed.began_ns)
    return Stats(
        id=record.id,
        name=record.name,
        project=record.in_force.accounting.project,
        state=observed.state,
        started=inspection.timestamp(observed.began_ns),
        uptime_s=round(up_ns / 1e9, 3) if is_up else None,
        cpu_percent=round(100 * usage.cpu_ns / up_ns, 2) if is_up and usage.cpu_ns is not None else None,
        limits=inspection.limit_info(engine, record.in_force.limits),
        usage=usage,
        monotonic_ns=reading.monotonic_ns,
    )


def after_alarm(engine: "Engine", record: Record) -> None:
    """The kernel is short of memory for this instance: wait until it has killed somebody, and book that.

    v1 tells before it kills. Where nobody was killed in time, a limit was reached, and the kernel found memory."""
    deadline = time.monotonic() + ALARM_PATIENCE_S
    while True:
        observed = engine.driver.observe(record.id)
        if observed.state not in RUNNING:
            settle(engine, record)  # its init was the one
            return
        told = ledger.standing_of(engine.store, record.id)
        kills = engine.driver.usage(record.id, observed).oom_kills or 0
        if kills > (told.oom_kills if told.run_ns == observed.began_ns else 0):
            sample(engine, (record,))
            return
        if time.monotonic() >= deadline:
            return
        time.sleep(ALARM_PAUSE_S)
