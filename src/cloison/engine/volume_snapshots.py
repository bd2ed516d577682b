"""Snapshots of volumes: what is in one, as it was at another time.

    volume-snapshots/<pool>/<volume>/<name>    a snapshot's record in the store

The tree of a snapshot is frozen, a copy as its pool makes one: at once on btrfs and lvm, elsewhere as long as there
are files. Instances that run with the volume are held still for the moment (`cloison.engine.holding`), and none of
the others starts meanwhile.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Busy, Exists, NotFound, WrongState
from cloison.engine import holding, inspection
from cloison.engine.snapshot_records import check_name
from cloison.engine.store import Store, Transaction
from cloison.engine.volumes import Volume, load, put, users
from cloison.spec.driver import State
from cloison.storage.driver import Driver, Progress, Size, Tree
from cloison.storage.settling import settle, settle_at

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

UP = (State.RUNNING, State.FROZEN)
MOST_NUMBERED = 1 << 20


class VolumeSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """A snapshot as it is stored. Times are nanoseconds since 1970."""

    name: str
    tree: Tree
    created_ns: int
    description: str = ""
    was_running: tuple[str, ...] = ()

    @property
    def info(self) -> "VolumeSnapshotInfo":
        """As it is given out."""
        created = inspection.timestamp(self.created_ns) or ""
        return VolumeSnapshotInfo(self.name, created, self.description, self.was_running)


class VolumeSnapshotInfo(msgspec.Struct, frozen=True):
    """A snapshot as it is given out: `created` is in RFC 3339, `was_running` are the instances that ran with it."""

    name: str
    created: str
    description: str
    was_running: tuple[str, ...]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(VolumeSnapshot).decode


def load_all(store: Store, volume: Volume) -> tuple[VolumeSnapshot, ...]:
    """All of a volume, the oldest first."""
    found = [_decode(entry.value) for entry in store.list(volume.snapshots_key)]
    return tuple(sorted(found, key=lambda each: (each.created_ns, each.name)))


class VolumeSnapshots:
    """The snapshots of one volume; `Engine.volume_snapshots` gives it."""

    def __init__(self, engine: "Engine", volume: Volume) -> None:
        self._engine = engine
        self._volume = volume

    def list(self) -> tuple[VolumeSnapshot, ...]:
        """All of them, the oldest first."""
        return load_all(self._engine.store, self._volume)

    def get(self, name: str) -> VolumeSnapshot:
        """One of them. Raises NotFound."""
        found = next((each for each in self.list() if each.name == name), None)
        if found is None:
            raise NotFound(
                f"the volume {self._volume.name!r} has no snapshot {name!r}",
                hint=f"`cloison volume snapshot ls {self._volume.pool}/{self._volume.name}` lists them",
                name=name,
            )
        return found

    def create(self, name: str = "", *, description: str = "", progress: Progress | None = None) -> VolumeSnapshot:
        """Keep what is in it now, also while it is in use. Without a name it is called snap0, snap1 and so on. Raises
        Exists, Invalid, NoSpace; WrongState while an instance with it starts or stops."""
        if name:
            self._expect_free(self._engine.store, check_name(name))
        with self._engine.pools.making(self._volume.pool) as driver:
            volume = self._present()
            frozen, running = self.frozen(driver, progress)
            settle(driver, frozen)
            with self._engine.store.transaction(is_durable=True) as changes:
                self._expect_same(changes, volume)
                name = name or _free_name(changes.keys(volume.snapshots_key))
                self._expect_free(changes, name)
                made = VolumeSnapshot(name, frozen, time.time_ns(), description, running)
                changes.put(volume.snapshots_key + name, _encode(made))
                changes.record(f"{volume.pool}/{volume.name}", "volume-snapshot-created", name)
        return made

    def restore(self, name: str, *, progress: Progress | None = None) -> None:
        """Have in the volume what was in it then; what there is now goes. Raises WrongState while an instance runs with
        it, naming which; NotFound, NoSpace."""
        wanted = self.get(name)
        with self._engine.pools.making(self._volume.pool) as driver:
            volume = self._present()
            with self._stopped(volume), self._engine.volumes.unmounted(volume, is_for_good=True):
                tree = writable(driver, wanted.tree, volume.size, progress)
                settle(driver, tree)
                with self._engine.store.transaction(is_durable=True) as changes:
                    self._expect_same(changes, volume)
                    put(changes, msgspec.structs.replace(volume, tree=tree))
                    changes.record(f"{volume.pool}/{volume.name}", "volume-restored", name)
        self._engine.pools.collect(volume.pool)

    def delete(self, name: str) -> None:
        """Forget one, and delete its files. Raises NotFound."""
        self.get(name)
        with self._engine.freeing():
            with self._engine.store.transaction(is_durable=True) as changes:
                changes.delete(self._volume.snapshots_key + name)
                changes.record(f"{self._volume.pool}/{self._volume.name}", "volume-snapshot-deleted", name)
            self._engine.pools.collect(self._volume.pool)

    def frozen(self, driver: Driver, progress: Progress | None = None) -> tuple[Tree, tuple[str, ...]]:
        """What is in it now, in a frozen tree that nobody mentions yet, and who runs with it; only by who is making
        trees of its pool."""
        volume = self._present()
        with self._still(volume) as running:
            return driver.snapshot(volume.tree, is_live=True, progress=progress).frozen, running

    # --- within --------------------------------------------------------------------------------------------

    def _present(self) -> Volume:
        return load(self._engine.store, self._volume.pool, self._volume.name)

    def _expect_same(self, changes: Transaction, volume: Volume) -> None:
        if load(changes, volume.pool, volume.name) != volume:
            raise Busy(f"the volume {volume.name!r} has been changed by another command meanwhile", hint="try again")

    def _expect_free(self, store: Store | Transaction, name: str) -> None:
        if store.get(self._volume.snapshots_key + name) is not None:
            raise Exists(
                f"the volume {self._volume.name!r} has a snapshot {name!r} already",
                hint="choose another name, or delete that one first",
                name=name,
            )

    @contextlib.contextmanager
    def _held(self, volume: Volume) -> Iterator[dict[str, State]]:
        """Nobody starts or stops an instance with the volume meanwhile; what those do, by name."""
        with contextlib.ExitStack() as stack:
            states = {}
            for name in users(self._engine.store, volume):
                instance = self._engine.get(name)
                stack.enter_context(instance.command("work on its volume"))
                states[name] = instance.state
            if set(users(self._engine.store, volume)) != set(states):
                raise Busy(f"an instance has just begun to use the volume {volume.name!r}", hint="try again")
            yield states

    @contextlib.contextmanager
    def _still(self, volume: Volume) -> Iterator[tuple[str, ...]]:
        """Nobody writes to it meanwhile, and what was written is on the disk; the instances that run with it."""
        with self._held(volume) as states, contextlib.ExitStack() as stack:
            running = tuple(name for name, state in states.items() if state is not State.STOPPED)
            for name in running:
                if states[name] not in UP:
                    raise WrongState(
                        f"the volume {volume.name!r} cannot be kept as it is: {name} is {states[name]}",
                        hint="wait for that to be over",
                    )
                instance = self._engine.get(name)
                stack.enter_context(holding.held(self._engine, instance.record, instance.observe()))
            if running:
                settle_at(self._engine.volumes.path(volume.pool, volume.name))
            else:
                stack.enter_context(self._engine.volumes.unmounted(volume))
            yield running

    @contextlib.contextmanager
    def _stopped(self, volume: Volume) -> Iterator[None]:
        with self._held(volume) as states:
            running = [name for name, state in states.items() if state is not State.STOPPED]
            if running:
                raise WrongState(
                    f"the volume {volume.name!r} cannot be restored: it is in {', '.join(running)}",
                    hint=f"cloison stop {' '.join(running)}",
                )
            yield


def writable(driver: Driver, frozen: Tree, size: Size, progress: Progress | None = None) -> Tree:
    """A tree of its own that begins as `frozen`. Trees that stack would be no directory that can be mounted: of those a
    copy is made, as of what is in use."""
    if not driver.abilities.stacks:
        return driver.clone(frozen, size, progress=progress)
    copy = driver.snapshot(frozen, is_live=True, progress=progress).frozen
    tree = msgspec.structs.replace(copy, is_frozen=False)
    if size != Size():
        driver.resize(tree, size)
    return tree


def _free_name(taken: frozenset[str]) -> str:
    names = {each.rpartition("/")[2] for each in taken}
    return next(f"snap{number}" for number in range(MOST_NUMBERED) if f"snap{number}" not in names)
