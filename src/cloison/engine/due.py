"""What time asks of snapshots: those that are due are made, those that have expired are deleted.

Whoever calls it (a timer) may call it as often as he likes, and at the same time as others: which moment of a schedule
has its snapshot is written together with that. One that was missed, as the machine was off, is made once.

    schedules/<id>    the last moment for which a schedule has made one, in nanoseconds since 1970
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from cloison.base.errors import CloisonError, Exists, NotFound
from cloison.engine import records
from cloison.engine import snapshot_records as stored
from cloison.engine.instance import Instance
from cloison.engine.records import Record
from cloison.engine.results import DueSnapshot
from cloison.spec import schedule
from cloison.spec.driver import State
from cloison.spec.snapshots import name_at

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

UP = (State.RUNNING, State.FROZEN)


def _nobody(_done: DueSnapshot) -> None:
    """Nobody wants to hear of it."""


def run(engine: "Engine", now_ns: int = 0, told: Callable[[DueSnapshot], object] = _nobody) -> tuple[DueSnapshot, ...]:
    """Do it for every instance; what was done, which `told` also hears of at once. Raises the first error, after all
    others have had their turn."""
    now = now_ns or time.time_ns()
    done: list[DueSnapshot] = []
    failed: list[CloisonError] = []
    for record in records.load_all(engine.store):
        for act in (_expire, _make):
            try:
                for each in act(engine, record, now):
                    done.append(each)
                    told(each)
            except CloisonError as problem:
                is_gone = isinstance(problem, NotFound) and engine.store.get(f"instances/{record.id}") is None
                failed += [] if is_gone else [problem]
    if failed:
        raise failed[0]
    return tuple(done)


def _expire(engine: "Engine", record: Record, now_ns: int) -> Iterator[DueSnapshot]:
    for snapshot in stored.load_all(engine.store, record.id):
        if snapshot.expires_ns and snapshot.expires_ns <= now_ns:
            try:
                Instance(engine, record).snapshots.delete(snapshot.name)
            except NotFound:
                if any(each.name == snapshot.name for each in stored.load_all(engine.store, record.id)):
                    raise
                continue  # another has been faster
            yield DueSnapshot(record.name, snapshot.name, "expired")


def _make(engine: "Engine", record: Record, now_ns: int) -> Iterator[DueSnapshot]:
    wanted = record.config.snapshots
    if not wanted.schedule:
        return
    now = datetime.fromtimestamp(now_ns / 1e9)
    moment = schedule.parse(wanted.schedule).latest(now)
    moment_ns = round(moment.timestamp()) * 1_000_000_000 if moment is not None else 0
    if moment_ns <= stored.moment_of(engine.store, record):
        return
    instance = Instance(engine, record)
    if not wanted.stopped and instance.state not in UP:
        return
    try:
        made = instance.snapshots.create(_free(engine, record, name_at(wanted.pattern, now)), scheduled_ns=moment_ns)
    except Exists:
        return  # another has been faster
    yield DueSnapshot(record.name, made.name, "made")


def _free(engine: "Engine", record: Record, name: str) -> str:
    taken = {each.name for each in stored.load_all(engine.store, record.id)}
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)
