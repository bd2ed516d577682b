"""Storage pools of an installation, and who mentions which of their trees.

    pools/<name>    a pool's record in the store; the pool `default` needs none

What there is of instances in pools is told by records alone: `Record.tree`, and those of snapshots and volumes. Who
makes trees holds the pool's lock together with others, from before the first tree until the record is written that
mentions it (`Pools.making`); who deletes what nobody mentions holds it alone, and is not waited for: where somebody is
at work, the last of them collects.

    <data>/storage/<name>/    a pool that is given no other place, and the lock of every one
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Busy, Exists, Invalid, NotFound
from cloison.base.ids import check_name
from cloison.engine.records import DEFAULT_POOL, Record, load_all, save, tree_of
from cloison.engine.store import Store
from cloison.storage.driver import Driver, RootLayers, Tree
from cloison.storage.overlay import OverlayDriver

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.results import PoolInfo
    from cloison.images import Image
    from cloison.storage.pool_lock import PoolLock

POOLS = "pools/"
LOCK_PATIENCE_S = 10.0
_MENTIONING = ("instances/", "snapshots/", "volumes/", "volume-snapshots/")


class Pool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pool as it is stored. `source` is the directory that it was given, "" for one below the data directory;
    `device` the disk, or the file in the place of one, that is mounted there; `options` are its driver's own."""

    name: str
    driver: str = "overlay"
    source: str = ""
    created_ns: int = 0
    options: dict[str, str] = {}
    device: str = ""


class _Mention(msgspec.Struct, frozen=True):
    """What of a record says which tree is its own."""

    id: str = ""
    tree: Tree | None = None
    layers: tuple[str, ...] = ()


_decode = msgspec.json.Decoder(Pool).decode
_mention = msgspec.json.Decoder(_Mention).decode


def load(store: Store, name: str) -> Pool:
    """The record of a pool. Raises NotFound."""
    entry = store.get(f"{POOLS}{name}") if name.isascii() else None
    if entry is not None:
        return _decode(entry.value)
    if name == DEFAULT_POOL:
        return Pool(DEFAULT_POOL)
    raise NotFound(f"there is no storage pool {name!r}", hint="`cloison storage ls` lists all of them", name=name)


class Pools:
    """The pools of one installation; `Engine.pools` has it."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def all(self) -> tuple[Pool, ...]:
        """All of them, by name."""
        stored = {pool.name: pool for pool in (_decode(entry.value) for entry in self._engine.store.list(POOLS))}
        return tuple(pool for _name, pool in sorted(({DEFAULT_POOL: Pool(DEFAULT_POOL)} | stored).items()))

    def get(self, name: str) -> Pool:
        """One of them. Raises NotFound."""
        return load(self._engine.store, name)

    def driver(self, name: str) -> Driver:
        """What carries out things in a pool. Raises NotFound."""
        return self._driver(self.get(name))

    # --- change --------------------------------------------------------------------------------------------

    def create(
        self, name: str, driver: str = "overlay", *, source: str = "", size: str = "", options: Iterable[str] = ()
    ) -> Pool:
        """Make a pool. `source` is a directory, or for btrfs a disk too; `size` that of the file that a btrfs without a
        source is made in, or for `loop` what an instance gets that has no limits.disk. Raises Exists, Invalid,
        Unsupported; then nothing is left of it."""
        from cloison.storage import sources

        check_name(name, what="a storage pool")
        if self._engine.store.get(f"{POOLS}{name}") is not None or name == DEFAULT_POOL:
            raise Exists(f"there is already a storage pool {name!r}", hint="choose another name")
        given = sources.options(driver, size, options)
        taken = {self._place(pool): pool.name for pool in self.all()}
        wanted = os.path.realpath(source) if source.startswith("/") else source
        if wanted in taken:
            raise Exists(f"{source} is the storage pool {taken[wanted]} already")
        with self._lock(name).alone(timeout_s=LOCK_PATIENCE_S), self._left_clean(name):
            found = sources.made(driver, self._home(name), source, size)
            pool = Pool(name, driver, found.directory, time.time_ns(), given, found.device)
            try:
                self._driver(pool).prepare()
                with self._engine.store.transaction() as changes:
                    if changes.get(f"{POOLS}{name}") is not None:
                        raise Exists(f"there is already a storage pool {name!r}", hint="choose another name")
                    changes.put(f"{POOLS}{name}", msgspec.json.encode(pool))
                    changes.record(f"storage/{name}", "storage-created", driver)
            except BaseException:
                sources.unmade(found)
                raise
        return pool

    def set(self, name: str, *assignments: str) -> Pool:
        """Change options of a pool: what is made in it from now on has them. Raises Invalid, NotFound."""
        from cloison.storage import sources

        pool = self.get(name)
        changed = msgspec.structs.replace(pool, options=pool.options | sources.options(pool.driver, "", assignments))
        with self._engine.store.transaction() as changes:
            changes.put(f"{POOLS}{name}", msgspec.json.encode(changed))
        return changed

    def remove(self, name: str) -> None:
        """Take a pool away in which there is nothing. Raises NotFound, Busy, Invalid for `default`."""
        from cloison.storage import sources

        pool = self.get(name)
        if name == DEFAULT_POOL:
            raise Invalid("the storage pool default stays: it is what instances without --storage are in")
        with self._engine.freeing(), self._lock(name).alone(timeout_s=LOCK_PATIENCE_S):
            self._expect_unused(name)
            self._driver(pool).destroy()
            with self._engine.store.transaction() as changes:
                changes.delete(f"{POOLS}{name}")
                changes.record(f"storage/{name}", "storage-deleted")
            sources.unmade(sources.Source(pool.source, pool.device))
            self._lock(name).remove()

    def info(self, name: str) -> "PoolInfo":
        """All there is to know about a pool. Raises NotFound."""
        from cloison.engine.results import PoolInfo

        pool = self.get(name)
        driver = self._driver(pool)
        driver.prepare()
        space, abilities = driver.space(), driver.abilities
        users = tuple(each.name for each in load_all(self._engine.store) if tree_of(each).pool == name)
        return PoolInfo(
            name=name,
            driver=pool.driver,
            path=self._place(pool),
            options=pool.options,
            total_bytes=space.total_bytes,
            free_bytes=space.free_bytes,
            trees=len(driver.names()),
            instances=users,
            quota=abilities.quota,
            inode_quota=abilities.inode_quota,
        )

    def _expect_unused(self, name: str) -> None:
        users = [record.name for record in load_all(self._engine.store) if tree_of(record).pool == name]
        if users:
            raise Busy(
                f"the storage pool {name} has the files of {', '.join(users)}", hint="delete those instances first"
            )
        if self.mentioned(name):
            raise Busy(f"the storage pool {name} has snapshots or volumes", hint="delete those first")

    # --- trees ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[Driver]:
        """Make trees of a pool, and write the record that mentions them; what is left of a failure is deleted."""
        self.get(name)
        lock, is_whole = self._lock(name), False
        try:
            with lock.together():
                driver = self.driver(name)  # it may just have been removed
                driver.prepare()
                yield driver
            is_whole = True
        finally:
            if not is_whole or lock.is_pending:
                self.collect(name)

    def collect(self, name: str) -> tuple[str, ...]:
        """Delete the trees of a pool that no record mentions; their names. Where somebody is making one just now, the
        last of them does so later."""
        lock = self._lock(name)
        try:
            with lock.alone(), self._left_clean(name):
                driver = self.driver(name)
                lock.note(is_pending=False)
                gone = driver.put_away(self.mentioned(name))
        except Busy:
            lock.note(is_pending=True)
            return ()
        driver.sweep()
        return gone

    def mentioned(self, name: str = "") -> tuple[Tree, ...]:
        """The trees that records mention, of one pool or of all."""
        found = []
        for prefix in _MENTIONING:
            for entry in self._engine.store.list(prefix):
                mention = _mention(entry.value)
                tree = mention.tree
                if tree is None and prefix == "instances/":
                    tree = Tree(DEFAULT_POOL, mention.id, mention.layers)
                if tree is not None and name in ("", tree.pool):
                    found.append(tree)
        return tuple(found)

    @contextlib.contextmanager
    def still(self) -> Iterator[tuple[Tree, ...]]:
        """Nobody makes a tree meanwhile; all that are mentioned. Raises Busy."""
        with contextlib.ExitStack() as stack:
            for pool in self.all():
                stack.enter_context(self._lock(pool.name).alone(timeout_s=LOCK_PATIENCE_S))
            yield self.mentioned()

    @staticmethod
    def uses(image: "Image", images: "Iterable[Image]", mentioned: Iterable[Tree]) -> bool:
        """Whether trees need an image: they are over it, and no other of `images` has the same layers; or over a layer
        that no other has. An image that was derived from a base is not in use by what was made from the base."""
        others = tuple(each.layers for each in images if each.digest != image.digest)
        own = set(image.layers).difference(*others)
        is_alone = image.layers not in others
        below = (tuple(path for path in tree.lower if path[0] == "/") for tree in mentioned)
        return any((is_alone and layers == image.layers) or not own.isdisjoint(layers) for layers in below if layers)

    @contextlib.contextmanager
    def directories(self, record: Record) -> Iterator[RootLayers]:
        """The directories of an instance that does not run."""
        tree = tree_of(record)
        with self.driver(tree.pool).directories(tree) as found:
            yield found

    def used_bytes(self, record: Record) -> int:
        """The disk space that an instance has to itself, its console's log included; takes as long as there are many
        files."""
        from cloison.storage import trees

        own = trees.usage_bytes(self._engine.layout.instance(record.id))
        tree = tree_of(record)
        return own + self.driver(tree.pool).used(tree).bytes

    def adopt(self, record: Record) -> Record:
        """Move the files of an instance that was made before there were pools into its tree; only while it does not
        run, and under its lock. Its record, with the tree."""
        if record.tree is not None:
            return record
        tree = tree_of(record)
        adopted = msgspec.structs.replace(record, tree=tree)
        with self.making(tree.pool):
            OverlayDriver(DEFAULT_POOL, self._home(DEFAULT_POOL)).adopt(
                self._engine.layout.instance(record.id), tree.name
            )
            with self._engine.store.transaction() as changes:
                save(changes, adopted)
        return adopted

    # --- within --------------------------------------------------------------------------------------------

    def _driver(self, pool: Pool) -> Driver:
        place = self._place(pool)
        if pool.device and not os.path.ismount(place):
            from cloison.storage import sources

            sources.mount(pool.device, place)
        if pool.driver == "overlay":  # nearly every start comes here
            return OverlayDriver(pool.name, place)
        from cloison.storage import drivers

        return drivers.driver(pool.driver, pool.name, place, pool.options)

    def _place(self, pool: Pool) -> str:
        return pool.source or self._home(pool.name)

    def _home(self, name: str) -> str:
        return f"{self._engine.layout.data}/storage/{name}"

    @contextlib.contextmanager
    def _left_clean(self, name: str) -> Iterator[None]:
        """Nothing is left of a pool that is none, not even its lock. Only by who holds that alone."""
        try:
            yield
        except BaseException:
            if self._engine.store.get(f"{POOLS}{name}") is None and name != DEFAULT_POOL:
                self._lock(name).remove()
            raise

    def _lock(self, name: str) -> "PoolLock":
        from cloison.storage.pool_lock import PoolLock

        return PoolLock(self._home(name))
