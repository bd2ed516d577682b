"""A second instance that begins as another one is, or was.

It is somebody else: another id, other ids of the host behind its users, other MAC addresses and addresses, a machine id
of its own, and the name that it is given. What only one can have is not copied: addresses and MAC addresses that were
written down, ports of the host, and that it is ephemeral. Files are shared where the pool's driver can: the tree of the
source is frozen, as for a snapshot that nobody lists, and both go on over it.

    <pool of the source>   source's tree -> frozen (`snapshots.split_off`) -> clone
    another pool           frozen -> `send`, `receive` -> clone
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.ids import check_name, new_id
from cloison.engine import claims, disk_limits, identity, records, setting, snapshots
from cloison.engine import snapshot_records as stored
from cloison.engine.records import Record, tree_of
from cloison.engine.snapshot_records import SnapshotRecord
from cloison.spec import config as configuration
from cloison.spec.config import Config
from cloison.spec.driver import State
from cloison.spec.nics import Nic
from cloison.storage.driver import Driver, Progress, Size, Tree
from cloison.storage.settling import settle

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance


def copy(
    engine: "Engine",
    source: "Instance",
    name: str,
    *,
    snapshot: str = "",
    config: Iterable[str] = (),
    is_alone: bool = False,
    storage: str = "",
    progress: Progress | None = None,
) -> Record:
    """Make the instance `name` of what `source` is now, or was in a snapshot; its record. With `is_alone` without the
    source's snapshots; `storage` is the pool of the copy. Raises what a creation raises; then nothing is left of it."""
    check_name(name)
    engine.expect_free(name)
    assignments = tuple(config)
    source.reload()
    if snapshot:
        stored.load(engine.store, source.record, snapshot)  # before anybody is waited for
    instance_id = new_id()
    with source.command("copy"), full_disk_named(engine.layout.data), engine.driver.command(instance_id, "create"):
        begin = stored.load(engine.store, source.record, snapshot) if snapshot else None
        of = begin.of if begin else source.record
        draft = _draft(source.record, of, instance_id, name, assignments)
        setting.check(engine, draft, draft.config, before=Config())
        directory = engine.layout.instance(instance_id)
        try:
            os.mkdir(directory, 0o700)
            made = _made(engine, source, begin, draft, storage, progress, is_alone=is_alone)
        except BaseException:
            from cloison.storage import trees

            trees.remove(directory)
            engine.driver.forget(instance_id)
            raise
        source.reload()
    for pool in {tree_of(source.record).pool, tree_of(made).pool}:  # what only led to the copy
        engine.pools.collect(pool)
    if made.config.nics:
        engine.names_changed({made.name})
    return made


def _made(
    engine: "Engine",
    source: "Instance",
    begin: SnapshotRecord | None,
    draft: Record,
    storage: str,
    progress: Progress | None,
    *,
    is_alone: bool,
) -> Record:
    pool = tree_of(source.record).pool
    wanted = storage or pool
    texts = begin.texts if begin else identity.remembered(engine, source.record)
    with engine.pools.making(pool) as driver, _target(engine, driver, pool, wanted) as target:
        present = tree_of(source.record)
        if begin is not None:
            frozen = begin.tree
        else:
            frozen, present = _frozen(engine, source, driver, progress)
        known = () if begin is not None or is_alone else _to_copy(engine, source.record)
        moved = Moved(driver, target, is_same=wanted == pool)
        size = disk_limits.size_of(draft.config)
        listed = [
            msgspec.structs.replace(
                each, tree=moved.tree(each.tree, each.of.layers, disk_limits.room_of(each.of.config, size))
            )
            for each in known
        ]
        tree = target.clone(moved.tree(frozen, draft.layers, size), size, progress=progress)
        draft = msgspec.structs.replace(draft, tree=tree)
        identity.forget_machine(engine, draft)
        texts = identity.written(engine, draft, texts)
        if draft.has_templates:
            from cloison.engine import file_templates

            file_templates.apply(engine, draft, "copy")
        with engine.store.transaction(is_durable=True) as changes:
            if present != source.record.tree:
                records.save(changes, msgspec.structs.replace(source.record, tree=present))
            made = claims.claim(changes, engine.layout.root, draft)
            identity.keep(changes, made, texts)
            for each in listed:
                stored.put(changes, made.id, each)
            changes.record(made.id, "created", f"{made.name} copied from {source.name}")
    return made


def _frozen(engine: "Engine", source: "Instance", driver: Driver, progress: Progress | None) -> tuple[Tree, Tree]:
    """What the source is now, and where it goes on. A whole tree of a stopped one is copied as it is: nobody writes to
    it meanwhile, as its lock is ours."""
    if source.state is State.STOPPED and not driver.abilities.stacks:
        tree = tree_of(source.record)
        return msgspec.structs.replace(tree, is_frozen=True), tree
    split, _observed = snapshots.split_off(engine, source, driver, progress)
    return split.frozen, split.present


@contextlib.contextmanager
def _target(engine: "Engine", driver: Driver, pool: str, wanted: str) -> Iterator[Driver]:
    """What makes trees of the wanted pool."""
    if wanted == pool:
        yield driver
        return
    with engine.pools.making(wanted) as target:
        yield target


class Moved:
    """Frozen trees as they are in another pool: each is sent once, after the one before it."""

    def __init__(self, source: Driver, target: Driver, *, is_same: bool) -> None:
        self._source = source
        self._target = target
        self._is_same = is_same
        self._done: dict[str, Tree] = {}
        self._last: Tree | None = None

    def tree(self, frozen: Tree, layers: tuple[str, ...], size: Size) -> Tree:
        """The same there, with room for `size` where a tree is a disk."""
        if self._is_same:
            return frozen
        if frozen.name not in self._done:
            since = self._last
            chunks = self._source.send(frozen, since)
            base = self._done[since.name] if since is not None else None
            self._done[frozen.name] = self._target.receive(chunks, layers, base, size)
            settle(self._target, self._done[frozen.name])
            self._last = frozen
        return self._done[frozen.name]


def _to_copy(engine: "Engine", record: Record) -> tuple[SnapshotRecord, ...]:
    return tuple(each for each in stored.load_all(engine.store, record.id) if not each.is_passing)


def _draft(source: Record, of: Record, instance_id: str, name: str, config: tuple[str, ...]) -> Record:
    """The copy, before anything is claimed for it."""
    return msgspec.structs.replace(
        stored.bare(of),
        id=instance_id,
        name=name,
        kind=source.kind,
        created_ns=time.time_ns(),
        id_base=0,
        is_copy=True,
        config=configuration.assign_all(without_own(of.config), config),
    )


def without_own(config: Config) -> Config:
    """A configuration without what only one instance can have. Pure."""
    return msgspec.structs.replace(
        config,
        nics={name: _shared(nic) for name, nic in config.nics.items()},
        ports={},
        boot=msgspec.structs.replace(config.boot, ephemeral=False),
    )


def _shared(nic: Nic) -> Nic:
    return msgspec.structs.replace(nic, mac="", addresses=() if nic.fixed else nic.addresses)
