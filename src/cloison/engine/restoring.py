"""Back to a snapshot.

A clone of the snapshot's tree is made; then one transaction puts it and the snapshot's configuration into the record of
the instance, and makes what it was until then a snapshot: `pre-restore`, or pre-restore-2 where there is one. That has
been successful when the instance starts: with that `pre-restore` is deleted. Until then it can be restored itself, and
who gives it another name keeps it.
"""

import time
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import CloisonError, WrongState
from cloison.base.ids import new_id
from cloison.engine import claims, disk_limits, identity, records, setting
from cloison.engine import snapshot_records as stored
from cloison.engine.records import Record, tree_of
from cloison.engine.snapshot_records import PRE_RESTORE, SnapshotRecord
from cloison.engine.store import Transaction
from cloison.spec.driver import State
from cloison.storage.driver import Progress

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance


def restore(
    engine: "Engine",
    instance: "Instance",
    name: str,
    *,
    force: bool,
    keep_config: bool,
    progress: Progress | None = None,
) -> None:
    """Have an instance be what it was; one that runs is stopped and started again, with `force` only."""
    instance.reload()
    stored.load(engine.store, instance.record, name)  # before anything is stopped
    state = instance.state
    is_up = state not in (State.STOPPED, State.STUCK)
    if is_up and not force:
        raise WrongState(
            f"{instance.name!r} cannot be restored: it is {state}",
            hint="stop it first, or use --force: then it is stopped, restored, and started again",
            state=str(state),
        )
    if is_up:
        instance.stop_to_start()
    try:
        with instance.command("restore"):
            _restore(engine, instance, name, keep_config=keep_config, progress=progress)
    except CloisonError:
        if is_up:  # nothing has changed: it goes on as it was
            instance.start()
        raise
    if is_up:
        instance.start()


def _restore(
    engine: "Engine", instance: "Instance", name: str, *, keep_config: bool, progress: Progress | None
) -> None:
    instance.expect_stopped("be restored", hint="stop it first, or use --force")
    before = instance.adopted()
    snapshot = stored.load(engine.store, before, name)
    after = msgspec.structs.replace(before, is_restored=True) if keep_config else _as_it_was(before, snapshot)
    _check(engine, before, after)
    setting.book_for_project(engine, before, after.config)
    with engine.pools.making(snapshot.tree.pool) as driver:
        after = msgspec.structs.replace(
            after, tree=driver.clone(snapshot.tree, disk_limits.size_of(after.config), progress=progress)
        )
        texts = identity.remembered(engine, before)
        with engine.store.transaction() as changes:
            after = _settled(changes, before, after)
            stored.add(changes, before, _pre_restore(engine, changes, before))
            records.save(changes, after)
            changes.record(before.id, "restored", name)
    setting.leave_ground(engine, before, after)
    instance.reload()
    identity.take_over(engine, after, texts | snapshot.texts)
    identity.refresh(engine, after)


def settle(changes: Transaction, record: Record) -> None:
    """It has been started with what was restored: forget what it was before."""
    for snapshot in stored.of_changes(changes, record.id):
        if snapshot.is_passing:
            stored.remove(changes, record.id, snapshot.name)


def _as_it_was(before: Record, snapshot: SnapshotRecord) -> Record:
    """What it was then, with what it has to itself now."""
    return msgspec.structs.replace(
        snapshot.of,
        id=before.id,
        name=before.name,
        created_ns=before.created_ns,
        id_base=before.id_base,
        started_ns=before.started_ns,
        claims=before.claims,
        live=None,
        live_claims=None,
        is_restored=True,
    )


def _check(engine: "Engine", before: Record, after: Record) -> None:
    try:
        setting.check(engine, before, after.config, before=before.config)
    except CloisonError as problem:
        raise _explained(problem) from problem


def _settled(changes: Transaction, before: Record, after: Record) -> Record:
    """With the addresses and ports of that time, or others where they are chosen; what others have taken meanwhile
    raises Exists."""
    try:
        return claims.settled(changes, before, after)
    except CloisonError as problem:
        raise _explained(problem) from problem


def _explained(problem: CloisonError) -> CloisonError:
    """What the configuration of that time meets today."""
    return type(problem)(
        f"its configuration of that time cannot be had any more: {problem}",
        hint="use --keep-config, which restores its files alone",
        **problem.facts,
    )


def _pre_restore(engine: "Engine", changes: Transaction, record: Record) -> SnapshotRecord:
    """What it is until now."""
    taken = changes.keys(stored.key(record.id))
    names = (PRE_RESTORE, *(f"{PRE_RESTORE}-{number}" for number in range(2, len(taken) + 3)))
    return SnapshotRecord(
        name=next(name for name in names if stored.key(record.id, name) not in taken),
        uid=new_id(),
        created_ns=time.time_ns(),
        tree=msgspec.structs.replace(tree_of(record), is_frozen=True),
        of=stored.bare(record),
        texts=identity.remembered(engine, record),
        is_passing=True,
    )
