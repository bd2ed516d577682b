"""Snapshots of an instance: its files and its configuration as they were.

Of a stopped one nothing is copied: its tree is frozen, and it goes on in a new one. A running one is held still while
its driver makes a frozen tree (`cloison.engine.holding`). The tree is made first, then one transaction mentions it; so
there is the whole snapshot or none, whoever dies when.
"""

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import WrongState
from cloison.base.ids import new_id
from cloison.engine import holding, identity, inspection, records
from cloison.engine import snapshot_records as stored
from cloison.engine.records import Record, tree_of
from cloison.engine.results import FileChange, SnapshotInfo
from cloison.engine.snapshot_records import SnapshotRecord
from cloison.spec import config as configuration
from cloison.spec.driver import Observed, State
from cloison.storage.driver import Driver, Progress, Split
from cloison.storage.settling import settle

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance

UP = (State.RUNNING, State.FROZEN)
MOST_NUMBERED = 1 << 20


class Snapshots:
    """The snapshots of one instance."""

    def __init__(self, engine: "Engine", instance: "Instance") -> None:
        self._engine = engine
        self._instance = instance

    def list(self) -> tuple[SnapshotInfo, ...]:
        """All of them, the oldest first; their sizes are not measured."""
        self._instance.reload()
        found = stored.load_all(self._engine.store, self._instance.id)
        return tuple(info(self._engine, self._instance.record, each) for each in found)

    def get(self, name: str) -> SnapshotInfo:
        """One of them, with the space that it takes; that takes as long as it has files. Raises NotFound."""
        self._instance.reload()
        found = stored.load(self._engine.store, self._instance.record, name)
        return info(self._engine, self._instance.record, found, with_disk=True)

    def create(
        self,
        name: str = "",
        *,
        description: str = "",
        expires_s: float | None = None,
        scheduled_ns: int = 0,
        progress: Progress | None = None,
    ) -> SnapshotInfo:
        """Keep what it is now, running or not. Without a name it is called snap0, snap1 and so on.

        It is deleted by `run-due` after `expires_s` seconds: 0 for never, None for what snapshots.expiry says.
        `scheduled_ns` is the moment for which its schedule wants it, which has one at most. Raises Exists, Invalid,
        NoSpace; WrongState while it starts or stops; Kernel where it cannot be held still."""
        if name:
            stored.check_name(name)
        with self._instance.command("snapshot"):
            record = self._instance.record
            if name and self._engine.store.get(stored.key(record.id, name)) is not None:
                with self._engine.store.transaction() as changes:  # raises, before anything is made
                    stored.add(changes, record, _draft(self._engine, record, name))
            lasting_s = record.config.snapshots.expiry_s if expires_s is None else expires_s
            with self._engine.pools.making(tree_of(record).pool) as driver:
                split, observed = split_off(self._engine, self._instance, driver, progress)
                record = self._instance.record
                with self._engine.store.transaction(is_durable=True) as changes:
                    made = msgspec.structs.replace(
                        _draft(self._engine, record, name or _free_name(changes.keys(stored.key(record.id)))),
                        tree=split.frozen,
                        description=description,
                        was_running=observed.pid != 0,
                        is_scheduled=scheduled_ns != 0,
                    )
                    if lasting_s:
                        made = msgspec.structs.replace(made, expires_ns=made.created_ns + round(lasting_s * 1e9))
                    if scheduled_ns:
                        stored.take_moment(changes, record, scheduled_ns)
                    stored.add(changes, record, made)
                    records.save(changes, msgspec.structs.replace(record, tree=split.present))
                    changes.record(record.id, "snapshot-created", made.name)
            self._instance.reload()
        return info(self._engine, self._instance.record, made)

    def delete(self, name: str) -> None:
        """Forget one; what nobody else shares of its files is deleted. Raises NotFound."""
        with self._engine.freeing():
            with self._instance.command("delete a snapshot"):
                record = self._instance.record
                stored.load(self._engine.store, record, name)
                with self._engine.store.transaction(is_durable=True) as changes:  # before its files go
                    stored.remove(changes, record.id, name)
                    changes.record(record.id, "snapshot-deleted", name)
            self._engine.pools.collect(tree_of(record).pool)

    def rename(self, name: str, new_name: str) -> None:
        """Give one another name; one that would have gone with the next start stays. Raises NotFound, Exists."""
        stored.check_name(new_name)
        with self._instance.command("rename a snapshot"):
            record = self._instance.record
            found = stored.load(self._engine.store, record, name)
            with self._engine.store.transaction() as changes:
                stored.add(changes, record, msgspec.structs.replace(found, name=new_name, is_passing=False))
                stored.remove(changes, record.id, name)
                changes.record(record.id, "snapshot-renamed", f"{name} {new_name}")

    def restore(
        self, name: str, *, force: bool = False, keep_config: bool = False, progress: Progress | None = None
    ) -> None:
        """Have its files and its configuration be what they were; with `keep_config` only the files. A running one only
        with `force`: it is stopped, and started again. See `cloison.engine.restoring`. Raises WrongState, NotFound, and
        what its old configuration meets that others have taken meanwhile; then nothing has changed."""
        from cloison.engine import restoring

        restoring.restore(self._engine, self._instance, name, force=force, keep_config=keep_config, progress=progress)

    def diff(self, name: str, other: str = "") -> tuple[FileChange, ...]:
        """What has changed since, by path; up to now, or to another snapshot. A running one is held still for the
        moment, and what it is then is compared. Raises NotFound."""
        with self._instance.command("compare"):
            record = self._instance.record
            older = stored.load(self._engine.store, record, name)
            if other == name:
                return ()
            if other:
                driver = self._engine.pools.driver(older.tree.pool)
                newer = stored.load(self._engine.store, record, other).tree
                return _changes(driver.changed(older.tree, newer))
            if not self._instance.observe().pid:
                self._instance.expect_stopped("be compared")
                driver = self._engine.pools.driver(older.tree.pool)
                return _changes(driver.changed(older.tree, tree_of(record)))
            with self._engine.pools.making(older.tree.pool) as driver:
                split, _observed = split_off(self._engine, self._instance, driver, None)
                found = _changes(driver.changed(older.tree, split.frozen))
        self._engine.pools.collect(older.tree.pool)
        return found


def split_off(
    engine: "Engine", instance: "Instance", driver: Driver, progress: Progress | None
) -> tuple[Split, Observed]:
    """Freeze what the instance's tree is now; nobody mentions the new trees yet. Only by who has its lock, and the
    pool's. Raises WrongState while it starts or stops."""
    observed = instance.observe()
    if observed.state in UP:
        tree = tree_of(instance.record)
        with holding.held(engine, instance.record, observed):
            split = driver.snapshot(tree, is_live=True, progress=progress)
        settle(driver, split.frozen)
        return split, observed
    if observed.state is not State.STUCK and observed.pid:
        raise WrongState(
            f"{instance.name!r} cannot be kept as it is: it is {observed.state}",
            hint="wait for that to be over",
            state=str(observed.state),
        )
    instance.expect_stopped("be kept as it is")
    return driver.snapshot(instance.adopted().tree or tree_of(instance.record), progress=progress), observed


def info(engine: "Engine", record: Record, snapshot: SnapshotRecord, *, with_disk: bool = False) -> SnapshotInfo:
    """What there is to know about one."""
    return SnapshotInfo(
        instance=record.name,
        name=snapshot.name,
        created=inspection.timestamp(snapshot.created_ns) or "",
        description=snapshot.description,
        expires=inspection.timestamp(snapshot.expires_ns),
        was_running=snapshot.was_running,
        scheduled=snapshot.is_scheduled,
        until_start=snapshot.is_passing,
        image=snapshot.of.image_name,
        config=dict(configuration.items(snapshot.of.config)),
        disk_bytes=engine.pools.driver(snapshot.tree.pool).used(snapshot.tree).bytes if with_disk else None,
    )


def _draft(engine: "Engine", record: Record, name: str) -> SnapshotRecord:
    """A snapshot of what the instance is now, before its tree is made."""
    return SnapshotRecord(
        name=name,
        uid=new_id(),
        created_ns=time.time_ns(),
        tree=tree_of(record),
        of=stored.bare(record),
        texts=identity.remembered(engine, record),
    )


def _free_name(taken: frozenset[str]) -> str:
    names = {each.rpartition("/")[2] for each in taken}
    return next(f"snap{number}" for number in range(MOST_NUMBERED) if f"snap{number}" not in names)


def _changes(found: Iterable[tuple[str, str]]) -> tuple[FileChange, ...]:
    """By path; bytes that are no UTF-8 are written as \\xff."""
    named = ((what, os.fsencode(path).decode(errors="backslashreplace")) for what, path in found)
    return tuple(sorted((FileChange(path, what) for what, path in named), key=lambda each: each.path))
