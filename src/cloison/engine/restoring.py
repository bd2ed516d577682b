"""Back to a snapshot, or to the beginning: another root file system in the place of the present one.

A clone of the snapshot's tree is made; then one transaction puts it and the snapshot's configuration into the record of
the instance, and makes what it was until then a snapshot: `pre-restore`, or pre-restore-2 where there is one. That has
been successful when the instance starts: with that `pre-restore` is deleted. Until then it can be restored itself, and
who gives it another name keeps it.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import no_space
from cloison.base.errors import CloisonError, WrongState
from cloison.base.ids import new_id
from cloison.engine import claims, disk_limits, identity, records, setting
from cloison.engine import snapshot_records as stored
from cloison.engine.records import Record, tree_of
from cloison.engine.snapshot_records import PRE_REBUILD, PRE_RESTORE, SnapshotRecord
from cloison.engine.store import Transaction
from cloison.spec.driver import State
from cloison.storage.driver import Progress

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance
    from cloison.images import Image

LEAST_BYTES = 1 << 20  # for what runs to be stopped, and started as something else


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
    with _stopped(engine, instance, "be restored", "restored", force=force), instance.command("restore"):
        _restore(engine, instance, name, keep_config=keep_config, progress=progress)


@contextlib.contextmanager
def _stopped(engine: "Engine", instance: "Instance", doing: str, done: str, *, force: bool) -> Iterator[None]:
    """It does not run meanwhile, and runs again afterwards, if it did: also where nothing has become of it."""
    state = instance.state
    if state in (State.STOPPED, State.STUCK):
        yield
        return
    if not force:
        raise WrongState(
            f"{instance.name!r} cannot {doing}: it is {state}",
            hint=f"stop it first, or use --force: then it is stopped, {done}, and started again",
            state=str(state),
        )
    _expect_room(engine, instance)
    instance.stop_to_start()
    try:
        yield
    finally:
        instance.start()


def _expect_room(engine: "Engine", instance: "Instance") -> None:
    """Nothing is stopped that could not be started again: a root file system without any space would be read-only."""
    for path in (engine.layout.data, engine.pools.driver(instance.tree.pool).root(instance.tree).writable):
        if os.path.isdir(path):
            found = os.statvfs(path)
            if found.f_bavail * found.f_frsize < LEAST_BYTES:
                raise no_space(path)


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
        texts = identity.written(engine, after, identity.remembered(engine, before) | snapshot.texts)
        with engine.store.transaction(is_durable=True) as changes:
            after = _settled(changes, before, after)
            stored.add(changes, before, _kept(engine, changes, before, PRE_RESTORE))
            records.save(changes, after)
            identity.keep(changes, after, texts)
            changes.record(before.id, "restored", name)
    setting.leave_ground(engine, before, after)
    instance.reload()


def rebuild(engine: "Engine", instance: "Instance", image: "Image", *, force: bool, progress: Progress | None) -> None:
    """Have its root file system be an image's, with nothing of its own; its name, configuration, addresses, ids,
    volumes and snapshots stay. What it was is kept as `pre-rebuild`, as with a restore. One that runs is stopped and
    started again, with `force` only."""
    from cloison.engine import creating

    creating.expect_runnable(image)
    with _stopped(engine, instance, "be rebuilt", "rebuilt", force=force), instance.command("rebuild"):
        instance.expect_stopped("be rebuilt", hint="stop it first, or use --force")
        before = instance.adopted()
        with engine.pools.making(tree_of(before).pool) as driver:
            tree = driver.create(image.layers, disk_limits.size_of(before.config), progress=progress)
            after = msgspec.structs.replace(creating.of_image(before, image), tree=tree, is_restored=True)
            texts = identity.written(engine, after, {})
            creating.fill(engine, after, image)
            with engine.store.transaction(is_durable=True) as changes:
                stored.add(changes, before, _kept(engine, changes, before, PRE_REBUILD))
                records.save(changes, after)
                identity.keep(changes, after, texts)
                changes.record(before.id, "rebuilt", after.image_name)
        instance.reload()


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


def _kept(engine: "Engine", changes: Transaction, record: Record, wanted: str) -> SnapshotRecord:
    """What it is until now."""
    taken = changes.keys(stored.key(record.id))
    names = (wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3)))
    return SnapshotRecord(
        name=next(name for name in names if stored.key(record.id, name) not in taken),
        uid=new_id(),
        created_ns=time.time_ns(),
        tree=msgspec.structs.replace(tree_of(record), is_frozen=True),
        of=stored.bare(record),
        texts=identity.remembered(engine, record),
        is_passing=True,
    )
