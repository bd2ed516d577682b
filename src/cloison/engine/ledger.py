"""The ledger: what instances have consumed, hour by hour, for as long as the store is kept.

    ledger/<hour>/<id>/<project>    what an instance used in that hour, in UTC: ledger/2026-11-21T09/4f…/default
    samples/<id>                    what was read of it last, from which the next reading is counted

An instance is read now and then. What it used between two readings goes into the hours between them, in proportion to
the time; so a reading that comes late is no reading lost. Counters of the kernel begin at zero with every run: a
reading of another run, and a counter that has fallen, count from zero. Memory and disk are levels, not counters:

    between two readings            the mean of both, times the time
    from its start to the first     the level of the first
    from the last to its end        the level of the last: an instance that ends has let go of its memory already
    a run that nobody has read      its peak, times its time

A bucket keeps the name and the project that the instance then had, and outlives it. Out-of-memory kills are told as
events by whoever reads them first, which this counting makes sure of. Everything here happens within a transaction of
the caller's.
"""

import time
from collections.abc import Iterator

import msgspec

from cloison.engine.store import Store, Transaction
from cloison.spec.consumption import HOUR_NS, Consumption
from cloison.spec.driver import Usage

BUCKETS = "ledger/"
SAMPLES = "samples/"
SECOND_NS = 1_000_000_000
LAST_S = 253_402_300_799  # the end of the year 9999
LONGEST_NS = 400 * 24 * HOUR_NS  # that one reading is spread over: a clock that began in 1970 has no hours to bill
COUNTERS = ("cpu_ns", "read_bytes", "written_bytes", "received_bytes", "sent_bytes")


class Holder(msgspec.Struct, frozen=True):
    """Whose consumption it is."""

    id: str
    name: str
    project: str
    created_ns: int


class Bucket(msgspec.Struct, frozen=True):
    """One hour of one instance, with the name that it had."""

    name: str
    used: Consumption


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was booked last of an instance; times are nanoseconds since 1970, 0 is "never".

    `run_ns` tells which run `counted` is of: 0 for none that goes on. `record_ns` is the time of the last record of an
    end that was booked. `oom_kills` are those of the run, or of the last one, that have been told."""

    run_ns: int = 0
    time_ns: int = 0
    counted: Consumption = Consumption()
    memory_bytes: int | None = None
    oom_kills: int = 0
    record_ns: int = 0
    disk_bytes: int | None = None
    disk_ns: int = 0


class Measured(msgspec.Struct, frozen=True):
    """A reading to be booked: of the run that began at `run_ns`, at the time `time_ns`; the last one of it, or not."""

    usage: Usage
    run_ns: int
    time_ns: int
    is_last: bool = False


_decode_bucket = msgspec.json.Decoder(Bucket).decode
_decode_standing = msgspec.json.Decoder(Standing).decode
_encode = msgspec.json.Encoder().encode


def standing(value: bytes | None) -> Standing:
    """What the entry `samples/<id>` says."""
    return _decode_standing(value) if value is not None else Standing()


def standing_of(source: Store | Transaction, instance_id: str) -> Standing:
    """What was booked last of an instance."""
    entry = source.get(f"{SAMPLES}{instance_id}")
    return standing(entry.value if entry else None)


def put_standing(changes: Transaction, instance_id: str, now: Standing) -> None:
    """Remember it for the next reading."""
    changes.put(f"{SAMPLES}{instance_id}", _encode(now))


def forget(changes: Transaction, instance_id: str) -> None:
    """The instance is deleted: what it consumed stays."""
    changes.delete(f"{SAMPLES}{instance_id}")


def book(changes: Transaction, holder: Holder, before: Standing, now: Measured) -> Standing:
    """Put what it used since `before` into the hours; gives what the next reading is counted from."""
    base = before
    if before.run_ns != now.run_ns or not now.run_ns:
        base = msgspec.structs.replace(
            before,
            run_ns=now.run_ns,
            time_ns=now.run_ns or now.time_ns,
            counted=Consumption(),
            memory_bytes=None,
            oom_kills=0,
        )
    counted = {name: getattr(base.counted, name) for name in COUNTERS}
    grown = {}
    for name in COUNTERS:
        value = getattr(now.usage, name)
        if value is not None:
            grown[name] = value - counted[name] if value >= counted[name] else value
            counted[name] = value
    duration_ns = max(0, now.time_ns - base.time_ns)
    used = Consumption(**grown, memory_byte_s=_held(_memory(base, now) or 0, duration_ns))
    _spread(changes, holder, used, base.time_ns, now.time_ns)
    return msgspec.structs.replace(
        base,
        run_ns=0 if now.is_last else now.run_ns,
        time_ns=now.time_ns,
        counted=Consumption() if now.is_last else Consumption(**counted),
        memory_bytes=None if now.is_last else now.usage.memory_bytes,
        oom_kills=_tell_kills(changes, holder, base.oom_kills, now.usage.oom_kills),
    )


def book_disk(changes: Transaction, holder: Holder, before: Standing, disk_bytes: int, time_ns: int) -> Standing:
    """Put the disk space that it held since it was measured last, or since it was made, into the hours."""
    since_ns = before.disk_ns or holder.created_ns
    level = disk_bytes if before.disk_bytes is None else (before.disk_bytes + disk_bytes) // 2
    used = Consumption(disk_byte_s=_held(level, max(0, time_ns - since_ns)))
    _spread(changes, holder, used, since_ns, time_ns)
    return msgspec.structs.replace(before, disk_bytes=disk_bytes, disk_ns=time_ns)


def entries(store: Store, begin_ns: int, end_ns: int) -> Iterator[tuple[str, str, Bucket]]:
    """(id, project, bucket) of every hour that has begun at `begin_ns` or later and before `end_ns`, oldest first."""
    for entry in store.range(f"{BUCKETS}{_hour(begin_ns)}", f"{BUCKETS}{_hour(end_ns + HOUR_NS - 1)}"):
        _ledger, _when, instance_id, project = entry.key.split("/", 3)
        yield instance_id, project, _decode_bucket(entry.value)


def _memory(base: Standing, now: Measured) -> int | None:
    """The level of memory between two readings: see the table above."""
    usage = now.usage
    if now.is_last:
        peak = usage.memory_bytes if usage.memory_peak_bytes is None else usage.memory_peak_bytes
        return peak if base.memory_bytes is None else base.memory_bytes
    if base.memory_bytes is None or usage.memory_bytes is None:
        return usage.memory_bytes if base.memory_bytes is None else base.memory_bytes
    return (base.memory_bytes + usage.memory_bytes) // 2


def _held(level_bytes: int, duration_ns: int) -> int:
    return (level_bytes * duration_ns + SECOND_NS // 2) // SECOND_NS


def _tell_kills(changes: Transaction, holder: Holder, told: int, kills: int | None) -> int:
    """Record the out-of-memory kills that were not recorded yet; gives how many have been since its start.

    Fewer than were told are those of a run that is ending, some of whose groups are gone already."""
    if kills is None or kills <= told:
        return told
    changes.record(holder.id, "oom-killed", f"{kills - told} killed, {kills} since its start")
    return kills


def _spread(changes: Transaction, holder: Holder, used: Consumption, begin_ns: int, end_ns: int) -> None:
    for hour_ns, part in by_hour(used, begin_ns, end_ns):
        _add(changes, holder, hour_ns, part)


def by_hour(used: Consumption, begin_ns: int, end_ns: int) -> Iterator[tuple[int, Consumption]]:
    """What belongs to each hour from `begin_ns` to `end_ns`, in proportion to the time; together it is all of it."""
    if used == Consumption():
        return
    begin_ns = max(begin_ns, end_ns - LONGEST_NS)
    span_ns = end_ns - begin_ns
    if span_ns <= 0 or begin_ns // HOUR_NS == (end_ns - 1) // HOUR_NS:
        yield min(begin_ns, end_ns) // HOUR_NS * HOUR_NS, used
        return
    past = Consumption()
    hour_ns = begin_ns // HOUR_NS * HOUR_NS
    while hour_ns < end_ns:
        until_ns = min(hour_ns + HOUR_NS, end_ns) - begin_ns
        so_far = used.share(until_ns, span_ns)
        if so_far != past:
            yield hour_ns, so_far - past
        past, hour_ns = so_far, hour_ns + HOUR_NS


def _add(changes: Transaction, holder: Holder, time_ns: int, used: Consumption) -> None:
    key = f"{BUCKETS}{_hour(time_ns)}/{holder.id}/{holder.project}"
    entry = changes.get(key)
    if entry is not None:
        used = _decode_bucket(entry.value).used + used
    changes.put(key, _encode(Bucket(holder.name, used)))


def _hour(time_ns: int) -> str:
    """The hour in which a time lies, in UTC, as the keys have it: 2026-11-21T09. Years of four digits only."""
    seconds = min(max(0, time_ns // SECOND_NS), LAST_S)
    return time.strftime("%Y-%m-%dT%H", time.gmtime(seconds))
