"""Volumes: trees of files that belong to no instance, outlive them all, and may be mounted in several at once.

    volumes/<pool>/<name>                       a volume's record in the store
    volume-snapshots/<pool>/<volume>/<name>     a snapshot's, see `cloison.engine.volume_snapshots`

Who uses one is told by the configurations of instances alone: `mounts.*.source`. What is stored in a volume has no
other owners on disk than inside; the mount maps them (`engine.mounts`).

In most pools a volume is a directory. In a pool that has a disk for each tree (loop, lvm) it is such a disk, which is
mounted on the host when it is first needed, and from there in instances (`storage.shared_disk`): until it is removed,
changes its size while nobody runs with it, or the machine is turned off.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Busy, CloisonError, Exists, NotFound, Unsupported, WrongState
from cloison.base.ids import check_name
from cloison.engine import inspection, records
from cloison.engine.records import DEFAULT_POOL, Record
from cloison.engine.store import Store, Transaction
from cloison.spec.config import Config
from cloison.spec.driver import State
from cloison.storage.driver import NO_LIMIT, Driver, Size, Tree
from cloison.storage.settling import settle

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

VOLUMES, SNAPSHOTS = "volumes/", "volume-snapshots/"


class Volume(msgspec.Struct, frozen=True, omit_defaults=True):
    """A volume as it is stored. Times are nanoseconds since 1970."""

    name: str
    tree: Tree
    created_ns: int
    description: str = ""
    size: Size = NO_LIMIT

    @property
    def pool(self) -> str:
        """The storage pool that it is in."""
        return self.tree.pool

    @property
    def key(self) -> str:
        """Where its record is in the store."""
        return f"{VOLUMES}{self.pool}/{self.name}"

    @property
    def snapshots_key(self) -> str:
        """What the places of its snapshots' records begin with."""
        return f"{SNAPSHOTS}{self.pool}/{self.name}/"


class VolumeInfo(msgspec.Struct, frozen=True):
    """A volume as it is given out: `created` is in RFC 3339, `used_by` are names of instances, `used_bytes` is
    None where it was not measured."""

    name: str
    pool: str
    description: str
    created: str
    size_bytes: int | None
    inodes: int | None
    used_bytes: int | None
    used_by: tuple[str, ...]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Volume).decode


def load(store: Store | Transaction, pool: str, name: str) -> Volume:
    """The record of a volume; "" is the default pool. Raises NotFound."""
    pool = pool or DEFAULT_POOL
    entry = store.get(f"{VOLUMES}{pool}/{name}") if (pool + name).isascii() else None
    if entry is None:
        path = name if pool == DEFAULT_POOL else f"{pool}/{name}"
        raise NotFound(
            f"there is no volume {name!r} in the storage pool {pool}",
            hint=f"`cloison volume ls` lists all of them; `cloison volume create {path}` makes it",
            name=name,
            pool=pool,
        )
    return _decode(entry.value)


def put(changes: Transaction, volume: Volume) -> None:
    """Store a volume, in the place of what was stored of it."""
    changes.put(volume.key, _encode(volume))


def expect_those_of(changes: Transaction, config: Config) -> None:
    """Raise NotFound for a configuration that names a volume which is gone; in the transaction that stores it, so that
    nobody removes one of them meanwhile."""
    for each in config.mounts.values():
        if each.is_volume:
            load(changes, *each.volume)


def users(store: Store, volume: Volume) -> tuple[str, ...]:
    """The names of the instances in which it is, or will be at their next start."""
    return tuple(record.name for record in records.load_all(store) if _mentions(record, volume))


def _mentions(record: Record, volume: Volume) -> bool:
    found = (each for config in (record.config, record.in_force) for each in config.mounts.values())
    return any(
        each.is_volume and (each.volume[0] or DEFAULT_POOL, each.volume[1]) == (volume.pool, volume.name)
        for each in found
    )


def _move_snapshots(changes: Transaction, before: Volume, after: Volume | None) -> None:
    """Their volume has got another name, or with None is being removed."""
    for place in changes.keys(before.snapshots_key):
        entry = changes.get(place)
        if entry is not None and after is not None:
            changes.put(after.snapshots_key + place.removeprefix(before.snapshots_key), entry.value)
        changes.delete(place)


@contextlib.contextmanager
def _as_options() -> Iterator[None]:
    """What a driver says of limits is about options of `volume`, and not about keys of an instance."""
    try:
        yield
    except CloisonError as problem:
        for key, option in (("limits.disk=", "--size "), ("limits.inodes=", "--inodes ")):
            problem.sentence = problem.sentence.replace(key, option)
        raise


class Volumes:
    """The volumes of one installation; `Engine.volumes` has it."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def all(self) -> tuple[Volume, ...]:
        """All of them, by pool and name."""
        return tuple(_decode(entry.value) for entry in self._engine.store.list(VOLUMES))

    def get(self, name: str, pool: str = "") -> Volume:
        """One of them, `name` or POOL/NAME. Raises NotFound."""
        within, _slash, name = name.rpartition("/")
        return load(self._engine.store, within or pool, name)

    def info(self, volume: Volume, *, with_disk: bool = False) -> VolumeInfo:
        """What there is to know; `with_disk` also measures it, which may take as long as it has many files."""
        used = self._engine.pools.driver(volume.pool).used(volume.tree) if with_disk else None
        return VolumeInfo(
            volume.name,
            volume.pool,
            volume.description,
            inspection.timestamp(volume.created_ns) or "",
            volume.size.bytes or (used.limit.bytes if used else None),
            volume.size.inodes,
            used.bytes if used else None,
            users(self._engine.store, volume),
        )

    def create(
        self,
        name: str,
        pool: str = DEFAULT_POOL,
        *,
        size_bytes: int | None = None,
        inodes: int | None = None,
        description: str = "",
        fill: Callable[[Driver], Tree] | None = None,
    ) -> Volume:
        """Make one, empty and of root, or of the tree that `fill` makes. Raises Exists, Invalid, Unsupported where the
        pool cannot limit its size."""
        size = Size(size_bytes or None, inodes or None)
        check_name(name, what="a volume")
        self._engine.pools.get(pool)
        key = f"{VOLUMES}{pool}/{name}"
        self._expect_free(self._engine.store, key, name, pool)
        with full_disk_named(self._engine.layout.data), self._engine.pools.making(pool) as driver:
            with _as_options():
                tree = driver.create((), size) if fill is None else fill(driver)
            if fill is not None:
                settle(driver, tree)
            volume = Volume(name, tree, time.time_ns(), description, size)
            with self._engine.store.transaction() as changes:
                self._expect_free(changes, key, name, pool)
                put(changes, volume)
                changes.record(f"{pool}/{name}", "volume-created")
        return volume

    def set(
        self,
        volume: Volume,
        *,
        size_bytes: int | None = None,
        inodes: int | None = None,
        description: str | None = None,
    ) -> Volume:
        """Change its limits, also while it is in use, or what it is for; 0 is no limit, None what it was before.
        Raises Invalid, Unsupported."""
        changed = msgspec.structs.replace(
            volume,
            size=Size(
                volume.size.bytes if size_bytes is None else size_bytes or None,
                volume.size.inodes if inodes is None else inodes or None,
            ),
            description=volume.description if description is None else description,
        )
        if changed.size != volume.size:
            self._resize(volume, changed.size)
        with self._engine.store.transaction() as changes:
            load(changes, volume.pool, volume.name)
            put(changes, changed)
            changes.record(f"{volume.pool}/{volume.name}", "volume-changed")
        return changed

    def rename(self, volume: Volume, new_name: str) -> Volume:
        """Give it another name. Raises Exists, and Busy where an instance uses it."""
        check_name(new_name, what="a volume")
        renamed = msgspec.structs.replace(volume, name=new_name)
        with self._engine.store.transaction() as changes:
            load(changes, volume.pool, volume.name)
            self._expect_unused(volume, "be renamed")
            self._expect_free(changes, renamed.key, new_name, volume.pool)
            changes.delete(volume.key)
            put(changes, renamed)
            _move_snapshots(changes, volume, renamed)
            changes.record(f"{volume.pool}/{new_name}", "volume-renamed", f"{volume.name} {new_name}")
        return renamed

    def remove(self, volume: Volume) -> None:
        """Delete it with all that is in it, and its snapshots. Raises Busy where an instance uses it, naming which."""
        self._expect_unused(volume, "be removed")
        with self._engine.freeing():
            with self.unmounted(volume, is_for_good=True), self._engine.store.transaction() as changes:
                load(changes, volume.pool, volume.name)
                self._expect_unused(volume, "be removed")
                changes.delete(volume.key)
                _move_snapshots(changes, volume, None)
                changes.record(f"{volume.pool}/{volume.name}", "volume-removed")
            self._engine.pools.collect(volume.pool)

    def path(self, pool: str, name: str, *, is_shown: bool = True) -> str:
        """The directory of a volume on the host; with `is_shown` the files are there, also of one that is a disk.
        Raises NotFound."""
        volume = load(self._engine.store, pool, name)
        files = self._engine.pools.driver(volume.pool).root(volume.tree)
        if files.image:
            at = self._engine.layout.volume_run(volume.tree.name)
            if is_shown:
                from cloison.storage import shared_disk

                shared_disk.show(files, at)
            return at
        return f"{files.writable}/upper" if files.lower else files.writable

    def running(self, volume: Volume) -> tuple[str, ...]:
        """The names of the instances that use it and do not stand still."""
        found = users(self._engine.store, volume)
        return tuple(name for name in found if self._engine.get(name).state is not State.STOPPED)

    @contextlib.contextmanager
    def unmounted(self, volume: Volume, *, is_for_good: bool = False) -> Iterator[None]:
        """The disk of a volume, where it is one, is not mounted on the host meanwhile. Raises Busy."""
        if not self._engine.pools.driver(volume.pool).root(volume.tree).image:
            yield
            return
        from cloison.storage import shared_disk

        with shared_disk.hidden(self._engine.layout.volume_run(volume.tree.name), is_for_good=is_for_good):
            yield

    def _resize(self, volume: Volume, size: Size) -> None:
        """Also while it is in use, where its pool can."""
        driver, running = self._engine.pools.driver(volume.pool), self.running(volume)
        with contextlib.nullcontext() if running else self.unmounted(volume), _as_options():
            try:
                driver.resize(volume.tree, size)
            except (Unsupported, WrongState) as problem:
                if not running:
                    raise
                raise type(problem)(
                    f"the size of the volume {volume.name!r} cannot be changed like that while it is in"
                    f" {', '.join(running)}: {problem.sentence}",
                    hint=f"cloison stop {' '.join(running)}",
                ) from problem

    def _expect_unused(self, volume: Volume, doing: str) -> None:
        """Read within a transaction, which keeps others from beginning to use it."""
        found = users(self._engine.store, volume)
        if found:
            raise Busy(
                f"the volume {volume.name!r} cannot {doing}: it is in use by {', '.join(found)}",
                hint=f"cloison mount ls {found[0]}; cloison mount remove",
            )

    def _expect_free(self, store: Store | Transaction, key: str, name: str, pool: str) -> None:
        if store.get(key) is not None:
            raise Exists(f"there is already a volume {name!r} in the storage pool {pool}", hint="choose another name")
