"""What the store keeps of an instance, and how its names and id ranges are claimed.

A record is JSON under `instances/<id>`. The name and the id range are entries of their own, written in the same
transaction, so that two creations at once cannot both have one.
"""

import binascii

import msgspec

from cloison.base.errors import Exists, NoSpace, NotFound
from cloison.base.ids import RANGE
from cloison.engine.store import Store, Transaction
from cloison.spec.config import Config
from cloison.storage.driver import Tree

FIRST_RANGE = 1 << 20  # above what distributions hand to people (100000 and on, in useradd's steps of 65536)
LAST_RANGE = 0x7000_0000  # below the ids that systemd-nspawn picks at its upper end, and far below 2^31
DEFAULT_POOL = "default"
RANGES = (LAST_RANGE - FIRST_RANGE) // RANGE


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a nic has to itself: its number from 0, its MAC address ("" for one that has that of a host's interface),
    and its addresses with prefix lengths, as far as they are known from outside."""

    number: int
    mac: str = ""
    addresses: tuple[str, ...] = ()


class Runner(msgspec.Struct, frozen=True, omit_defaults=True):
    """As whom and where an image wants its command run; ids as seen inside. `home` "" for nobody in particular."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = ""
    cwd: str = "/"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """An instance as it is stored. Times are nanoseconds since 1970, 0 is "never".

    `live` is the configuration of its present or last run, where that is not `config`; a start takes `config`.
    `claims` are what the nics of `config` have, `live_claims` those of `live` where they differ. `layers` are those of
    its image, the uppermost first; `tree` is where its files are, None for one made before there were pools.
    `is_restored`: its present state is that of a snapshot, and it has not been started since. `is_last_run`: it was
    ephemeral when it was started. `is_renamed`: its files do not tell its present name yet."""

    id: str
    name: str
    kind: str  # "container"
    image: str  # digest
    image_name: str
    created_ns: int
    id_base: int  # the host's id behind root inside, when it is not privileged
    config: Config
    started_ns: int = 0
    layers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    is_system: bool = True
    live: Config | None = None
    claims: dict[str, Claim] = {}
    live_claims: dict[str, Claim] | None = None
    tree: Tree | None = None
    has_templates: bool = False  # its image has files that are written anew for each instance
    is_restored: bool = False
    is_last_run: bool = False
    is_renamed: bool = False
    runner: Runner = Runner()
    is_copy: bool = False  # of another instance, and not made from its image

    @property
    def in_force(self) -> Config:
        """The configuration of its present or last run."""
        return self.live or self.config

    @property
    def stands_for(self) -> tuple[object, ...]:
        """What a rule means that names it."""
        return self.name, self.claims, self.live_claims


def tree_of(record: Record) -> Tree:
    """The tree of an instance. One that was made before there were pools has one with the instance's name."""
    return record.tree or Tree(DEFAULT_POOL, record.id, record.layers)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def texts_key(instance_id: str) -> str:
    """Where the store has what its files say of it: see `cloison.engine.identity`."""
    return f"texts/{instance_id}"


def load(store: Store, name: str) -> Record:
    """The record of the instance called `name`, or whose id that is. Raises NotFound."""
    entry = None
    if name.isascii():  # as all names and ids are
        claim = store.get(f"names/{name}")
        entry = store.get(f"instances/{claim.value.decode() if claim else name}")
    if entry is None:
        raise NotFound(f"there is no instance {name!r}", hint="`cloison ls` lists all of them", name=name)
    return _decode(entry.value)


def of_id(changes: Transaction, instance_id: str) -> Record:
    """The record of an id, as a transaction sees it. Raises NotFound."""
    entry = changes.get(f"instances/{instance_id}")
    if entry is None:
        raise NotFound(f"there is no instance {instance_id!r}", name=instance_id)
    return _decode(entry.value)


def load_all(store: Store) -> tuple[Record, ...]:
    """Every record, by name."""
    return tuple(sorted((_decode(entry.value) for entry in store.list("instances/")), key=lambda record: record.name))


def save(changes: Transaction, record: Record) -> None:
    """Write a record."""
    changes.put(f"instances/{record.id}", _encode(record))


def claim_name(changes: Transaction, name: str, instance_id: str) -> None:
    """Make `name` the instance's. Raises Exists."""
    if changes.get(f"names/{name}") is not None:
        raise Exists(
            f"there is already an instance {name!r}", hint="choose another name, or delete it first", name=name
        )
    changes.put(f"names/{name}", instance_id.encode())


def claim_range(changes: Transaction, root: str, instance_id: str) -> int:
    """The first id of a range that no other instance has. Installations below a CLOISON_ROOT begin elsewhere, so
    that they rarely meet those of the host's own. Raises NoSpace."""
    taken, others = changes.keys("ranges/"), _ranges_of_others()
    offset = binascii.crc32(root.encode()) % RANGES if root else 0
    for number in range(RANGES):
        first = FIRST_RANGE + (offset + number) % RANGES * RANGE
        key = f"ranges/{first:010}"
        if key not in taken and not any(start < first + RANGE and first < end for start, end in others):
            changes.put(key, instance_id.encode())
            return first
    raise NoSpace(f"all {RANGES} id ranges are in use", hint="delete instances that are no longer needed")


def _ranges_of_others() -> tuple[tuple[int, int], ...]:
    """The ids that were given to somebody on this host, as (first, one behind the last): subuid(5), subgid(5)."""
    found = []
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line.strip().split(":") for line in file]
        except FileNotFoundError:
            continue
        found += [
            (int(f[1]), int(f[1]) + int(f[2])) for f in lines if len(f) == 3 and f[1].isdecimal() and f[2].isdecimal()
        ]
    return tuple(found)


def release(changes: Transaction, record: Record) -> None:
    """Forget an instance: its record, its name, its range."""
    changes.delete(f"names/{record.name}")
    changes.delete(f"ranges/{record.id_base:010}")
    changes.delete(f"instances/{record.id}")
    changes.delete(texts_key(record.id))
