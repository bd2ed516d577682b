"""What the store keeps of a snapshot: `snapshots/<id of the instance>/<name>`.

The tree that it mentions is frozen. Others may mention the same one: copies of the instance have its snapshots, too.
"""

import re

import msgspec

from cloison.base.errors import Exists, Invalid, NotFound
from cloison.engine.records import Record
from cloison.engine.store import Store, Transaction
from cloison.storage.driver import Tree

PRE_RESTORE, PRE_REBUILD = "pre-restore", "pre-rebuild"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


class SnapshotRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A snapshot as it is stored. Times are nanoseconds since 1970; `expires_ns` 0 is "never".

    `uid` is its own wherever it is copied to. `of` is the instance at that time, without what it had to itself; `texts`
    are those that say inside who it was (`cloison.engine.identity`). `is_passing`: it goes with the next start that
    succeeds; `is_scheduled`: made by `run-due`."""

    name: str
    uid: str
    created_ns: int
    tree: Tree
    of: Record
    description: str = ""
    expires_ns: int = 0
    was_running: bool = False
    texts: dict[str, str] = {}
    is_passing: bool = False
    is_scheduled: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SnapshotRecord).decode


def check_name(name: str) -> str:
    """`name`, which is to be a snapshot's. Raises Invalid."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f'"{name}" is no name for a snapshot; write 1 to 63 letters, digits, dots, hyphens and underscores,'
            " a letter or a digit first",
            name=name,
        )
    return name


def key(instance_id: str, name: str = "") -> str:
    """Where a snapshot is kept; without a name, what all of the instance begin with."""
    return f"snapshots/{instance_id}/{name}"


def load(store: Store, record: Record, name: str) -> SnapshotRecord:
    """A snapshot of an instance. Raises NotFound."""
    entry = store.get(key(record.id, name)) if _NAME.fullmatch(name) else None
    if entry is None:
        raise NotFound(
            f"{record.name!r} has no snapshot {name!r}",
            hint=f"`cloison snapshot ls {record.name}` lists them",
            name=name,
        )
    return _decode(entry.value)


def load_all(store: Store, instance_id: str) -> tuple[SnapshotRecord, ...]:
    """All of an instance, the oldest first."""
    found = [_decode(entry.value) for entry in store.list(key(instance_id))]
    return tuple(sorted(found, key=lambda snapshot: (snapshot.created_ns, snapshot.name)))


def of_changes(changes: Transaction, instance_id: str) -> tuple[SnapshotRecord, ...]:
    """The same, as a transaction sees them."""
    entries = [changes.get(each) for each in changes.keys(key(instance_id))]
    found = [_decode(entry.value) for entry in entries if entry is not None]
    return tuple(sorted(found, key=lambda snapshot: (snapshot.created_ns, snapshot.name)))


def add(changes: Transaction, record: Record, snapshot: SnapshotRecord) -> None:
    """Store a new one. Raises Exists."""
    if changes.get(key(record.id, snapshot.name)) is not None:
        raise Exists(
            f"{record.name!r} has a snapshot {snapshot.name!r} already",
            hint="choose another name, or delete that one first",
            name=snapshot.name,
        )
    put(changes, record.id, snapshot)


def put(changes: Transaction, instance_id: str, snapshot: SnapshotRecord) -> None:
    """Store one, in the place of the one of that name."""
    changes.put(key(instance_id, snapshot.name), _encode(snapshot))


def remove(changes: Transaction, instance_id: str, name: str = "") -> None:
    """Forget one, or all of an instance and its schedule."""
    if not name:
        changes.delete(f"schedules/{instance_id}")
    for each in [key(instance_id, name)] if name else changes.keys(key(instance_id)):
        changes.delete(each)


def moment_of(store: Store, record: Record) -> int:
    """The last moment for which its schedule has made a snapshot, or of its making."""
    entry = store.get(f"schedules/{record.id}")
    return int(entry.value) if entry is not None else record.created_ns


def take_moment(changes: Transaction, record: Record, moment_ns: int) -> None:
    """Note that the snapshot for this moment is there. Raises Exists where another process has made it just now."""
    entry = changes.get(f"schedules/{record.id}")
    if entry is not None and int(entry.value) >= moment_ns:
        raise Exists(f"{record.name!r} has the snapshot already that was due")
    changes.put(f"schedules/{record.id}", str(moment_ns).encode())


def bare(record: Record) -> Record:
    """An instance without what it has to itself: what of it is kept, or becomes another's."""
    return msgspec.structs.replace(
        record,
        live=None,
        claims={},
        live_claims=None,
        tree=None,
        started_ns=0,
        is_restored=False,
        is_last_run=False,
        is_renamed=False,
    )
