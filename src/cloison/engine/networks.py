"""What the store keeps of a network, under `networks/<name>`. Pure.

What is done with networks is in `cloison.engine.wiring`.
"""

import msgspec

from cloison.base import inet
from cloison.base.errors import Exists, NotFound
from cloison.engine.store import Store, Transaction
from cloison.spec.networks import Options


class NetworkRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network as it is stored. `bridge` is the interface that nics are attached to. `ipv4` and `ipv6` are the
    bridge's own addresses, chosen where the options say auto; empty where there is none."""

    name: str
    bridge: str
    created_ns: int
    ipv4: str = ""
    ipv6: str = ""
    options: Options = Options()

    def own(self, address: str) -> str:
        """The bridge's address in whose subnet `address` lies; empty where it lies in none."""
        return next((each for each in (self.ipv4, self.ipv6) if each and inet.is_within(address, each)), "")

    @property
    def subnets(self) -> tuple[str, ...]:
        """What it has: 10.9.0.0/24."""
        return tuple(inet.subnet(each) for each in (self.ipv4, self.ipv6) if each)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NetworkRecord).decode


def load(store: Store, name: str) -> NetworkRecord:
    """The record of a network. Raises NotFound."""
    entry = store.get(f"networks/{name}") if name.isascii() else None
    if entry is None:
        raise missing(name)
    return _decode(entry.value)


def load_all(store: Store) -> tuple[NetworkRecord, ...]:
    """Every record, by name."""
    return tuple(_decode(entry.value) for entry in store.list("networks/"))


def find(changes: Transaction, name: str, key: str) -> NetworkRecord:
    """A record as a transaction sees it; `key` is what asks for it. Raises NotFound."""
    entry = changes.get(f"networks/{name}")
    if entry is None:
        raise missing(name, key)
    return _decode(entry.value)


def save(changes: Transaction, record: NetworkRecord) -> None:
    """Write a record."""
    changes.put(f"networks/{record.name}", _encode(record))


def add(changes: Transaction, record: NetworkRecord) -> None:
    """Write a new record. Raises Exists for a name, a bridge or a subnet that another network has."""
    for key in sorted(changes.keys("networks/")):
        other = find(changes, key.removeprefix("networks/"), "")
        if other.name == record.name:
            raise Exists(f"there is already a network {record.name!r}", hint="choose another name", name=record.name)
        if other.bridge == record.bridge and not record.options.parent:
            raise Exists(f"the network {other.name!r} has the interface {record.bridge} already", name=record.name)
        expect_apart(record, other)
    save(changes, record)


def expect_apart(record: NetworkRecord, other: NetworkRecord) -> None:
    """Raise Exists where two networks have an address in common."""
    for one in record.subnets:
        for two in other.subnets:
            if inet.is_within(one, two) or inet.is_within(two, one):
                raise Exists(
                    f"{one} overlaps {two}, which is the network {other.name!r}",
                    hint="choose another subnet, or leave it out to have a free one chosen",
                    name=record.name,
                )


def missing(name: str, key: str = "") -> NotFound:
    """That there is no such network."""
    return NotFound(
        (f"{key}={name}: " if key else "") + f"there is no network {name!r}",
        hint=f"`cloison network ls` lists all of them; cloison network create {name}",
        name=name,
    )
