"""What the nics of an instance have to themselves: a number, a MAC address, addresses, ports of the host. Pure.

    macs/<mac>                                  <id> <nic>
    addresses/<network>/<bytes in hexadecimal>  <id> <nic>      "@<parent>" for addresses on an interface of the host
    ports/<ports of the host>                   <id> ports      such as ports/192.0.2.1:8080/tcp
    lent/<interface of the host>                <id> <nic>      phys

They are entries of their own, written in the transaction that changes the instance's record, so that two changes at
once cannot both have one. An address that was chosen stays as long as the nic asks for one.
"""

import binascii
from collections.abc import Iterator

import msgspec

from cloison.base import inet
from cloison.base.errors import Conflict, Exists, Invalid, NoSpace, NotFound
from cloison.engine import records
from cloison.engine.networks import NetworkRecord, find
from cloison.engine.records import Claim, Record
from cloison.engine.store import Transaction
from cloison.spec import nic_keys
from cloison.spec.config import Config
from cloison.spec.key import refuse
from cloison.spec.nic_keys import host_ports
from cloison.spec.nics import DHCP, IPVLAN, PHYS, ROUTED, WHOLE, Nic

MAC_PREFIX = "02:c1:05"  # locally administered, RFC 7042 section 2.1
MAX_NICS = 256


def claim(changes: Transaction, root: str, record: Record) -> Record:
    """Store a new record, with a name, ids and all else that it has to itself; `root` is that of the installation.
    Raises Exists, Invalid, NotFound, NoSpace."""
    records.claim_name(changes, record.name, record.id)
    id_base = records.claim_range(changes, root, record.id)
    made = settle(changes, None, msgspec.structs.replace(record, id_base=id_base))
    _expect_volumes(changes, made.config)
    records.save(changes, made)
    return made


def settle(changes: Transaction, before: Record | None, after: Record) -> Record:
    """`after` with the claims of its nics; what `before` had and nobody needs any more is given back.

    Raises Invalid for an address outside its network, Exists for what another has, NotFound for a network."""
    known = {**before.claims, **(before.live_claims or {})} if before else {}
    pool = _Pool(changes, after, known)
    stored = pool.claimed(after.config)
    live = pool.claimed(after.live) if after.live else None
    for key in sorted(_held(changes, before) - pool.keys.keys() if before else ()):
        changes.delete(key)
    for key, value in pool.keys.items():
        changes.put(key, value.encode())
    return msgspec.structs.replace(after, claims=stored, live_claims=None if live == stored else live)


def settled(changes: Transaction, before: Record, after: Record) -> Record:
    """The same, where there is anything to claim or to give back. NotFound also for a volume that it is to have now."""
    if after.config.mounts != before.config.mounts:
        _expect_volumes(changes, after.config)
    if not (after.config.nics or after.config.ports or before.claims or before.config.ports or before.live):
        return after
    return settle(changes, before, after)


def _expect_volumes(changes: Transaction, config: Config) -> None:
    """They are nobody's own; but what is removed meanwhile cannot be used any more."""
    if config.mounts:
        from cloison.engine import volumes

        volumes.expect_those_of(changes, config)


def release(changes: Transaction, record: Record) -> None:
    """Give everything back: it is being deleted."""
    for key in _held(changes, record):
        changes.delete(key)


def addresses(record: Record) -> tuple[str, ...]:
    """The addresses of the nics that are known from outside, without prefix lengths."""
    claims = record.claims if record.live_claims is None else record.live_claims
    return tuple(each.partition("/")[0] for _name, claim in sorted(claims.items()) for each in claim.addresses)


def _held(changes: Transaction, record: Record) -> set[str]:
    """The entries of an instance, as its record tells them."""
    found: set[str] = set()
    for config, claims in ((record.config, record.claims), (record.live, record.live_claims or record.claims)):
        if config is None:
            continue
        found |= {f"ports/{text}" for text in config.ports}
        for name, claim in claims.items():
            nic = config.nics.get(name)
            if nic is not None:
                found |= set(_keys(nic, claim))
    return {key for key in found if _owner(changes, key)[0] == record.id}


def _keys(nic: Nic, claim: Claim) -> Iterator[str]:
    if claim.mac:
        yield f"macs/{claim.mac}"
    if nic.kind == PHYS:
        yield f"lent/{nic.parent}"
    for address in claim.addresses:
        yield _address_key(_scope(nic), address)


def _scope(nic: Nic) -> str:
    return nic.on or f"@{nic.parent}"


def _address_key(scope: str, address: str) -> str:
    return f"addresses/{scope}/{inet.split(address)[0].hex()}"


def _owner(changes: Transaction, key: str) -> tuple[str, str]:
    """The id and the nic that have an entry; empty texts where it is free."""
    entry = changes.get(key)
    owner, _space, nic = entry.value.decode().partition(" ") if entry else ("", "", "")
    return owner, nic


class _Pool:
    """Everything that one instance claims in one transaction."""

    def __init__(self, changes: Transaction, record: Record, known: dict[str, Claim]) -> None:
        self.keys: dict[str, str] = {}
        self._changes = changes
        self._record = record
        self._known = known
        self._numbers: dict[str, int] = {}

    def claimed(self, config: Config) -> dict[str, Claim]:
        """The claims of one configuration. What two configurations of the same instance have in common is one."""
        found = {}
        for name, nic in sorted(config.nics.items()):
            if nic.kind not in WHOLE:
                found[name] = self._claim(name, nic)
        for text in config.ports:
            self._port(text, config)
        return found

    def _claim(self, name: str, nic: Nic) -> Claim:
        mac = self._mac(name, nic)
        if nic.kind == PHYS:
            self._take(f"lent/{nic.parent}", name, f"nics.{name}.parent", nic.parent)
        addresses = self._addresses(name, nic, mac)
        return Claim(self._number(name), mac, addresses)

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            known = self._known.get(name)
            taken = {claim.number for claim in self._known.values()} | set(self._numbers.values())
            self._numbers[name] = known.number if known else next(n for n in range(MAX_NICS + 1) if n not in taken)
        return self._numbers[name]

    def _mac(self, name: str, nic: Nic) -> str:
        """The user's, else one that stays; an ipvlan has that of its parent, and what is lent its own."""
        if nic.mac:
            self._take(f"macs/{nic.mac}", name, f"nics.{name}.mac", nic.mac)
            return nic.mac
        if nic.kind in (IPVLAN, PHYS):
            return ""
        for turn in range(1 << 16):
            raw = binascii.crc32(f"{self._record.id} {name} {turn}".encode()).to_bytes(4, "big")
            mac = f"{MAC_PREFIX}:{raw[1:].hex(':')}"
            if self._is_free(f"macs/{mac}", name):
                self.keys[f"macs/{mac}"] = f"{self._record.id} {name}"
                return mac
        raise NoSpace("there is no MAC address left")

    def _addresses(self, name: str, nic: Nic, mac: str) -> tuple[str, ...]:
        network = find(self._changes, nic.on, f"nics.{name}.network") if nic.on else None
        if nic.fixed:
            return tuple(self._fixed(name, nic, address, network) for address in nic.fixed)
        if network is None or not (nic.is_auto or nic.addresses == (DHCP,)):
            return ()
        found = [self._chosen4(name, network)] if network.ipv4 else []
        found += [self._chosen6(name, network, mac)] if network.ipv6 else []
        return tuple(found)

    def _fixed(self, name: str, nic: Nic, address: str, network: NetworkRecord | None) -> str:
        """One that was written down, with a prefix length."""
        key, text = f"nics.{name}.addresses", ",".join(nic.addresses)
        own = network.own(address) if network else ""
        if network and not own and (network.ipv4 or network.ipv6):
            lies = " and ".join(inet.subnet(each) for each in (network.ipv4, network.ipv6) if each)
            refuse(key, text, f"{address} lies outside of the network {network.name}, which is {lies}")
        if own:
            self._expect_of_a_host(key, text, address, own)
        host, slash, length = address.partition("/")
        length = length if slash else own.partition("/")[2]
        if nic.kind == ROUTED or not length:
            length = "128" if ":" in host else "32"
        self._take(_address_key(_scope(nic), host), name, key, text, what=f"the address {host}")
        return f"{host}/{length}"

    def _expect_of_a_host(self, key: str, text: str, address: str, own: str) -> None:
        raw, prefix = inet.split(own)
        number = int.from_bytes(inet.split(address)[0], "big")
        host_bits = 8 * len(raw) - prefix
        if inet.split(address)[0] == raw:
            refuse(key, text, f"{address} is the address of the network's bridge")
        if number in (number >> host_bits << host_bits, number | (1 << host_bits) - 1) and len(raw) == 4:
            refuse(key, text, f"{address} is the first or the last of {inet.subnet(own)}, which no interface has")

    def _chosen4(self, name: str, network: NetworkRecord) -> str:
        """The one that it had, else a free one; where the search begins is by chance, so that none comes back soon."""
        raw, prefix = inet.split(network.ipv4)
        size = 1 << 32 - prefix
        first = int.from_bytes(raw, "big") // size * size
        known = self._known.get(name)
        for address in known.addresses if known else ():
            if network.own(address) == network.ipv4 and self._is_free(_address_key(network.name, address), name):
                return self._keep(name, network, address.partition("/")[0], prefix)
        taken = self._changes.keys(f"addresses/{network.name}/")
        offset = binascii.crc32(f"{self._record.id} {name}".encode())
        for turn in range(size - 2):
            chosen = (first + 1 + (offset + turn) % (size - 2)).to_bytes(4, "big")
            key = f"addresses/{network.name}/{chosen.hex()}"
            if chosen != raw and key not in taken and key not in self.keys:
                return self._keep(name, network, inet.text(chosen), prefix)
        raise NoSpace(
            f"every address of the network {network.name} ({inet.subnet(network.ipv4)}) is in use",
            hint="make a larger network: cloison network create NAME ipv4=10.9.0.1/16",
        )

    def _chosen6(self, name: str, network: NetworkRecord, mac: str) -> str:
        """The one that it would give itself, so that there is one whoever decides."""
        address = inet.eui64(network.ipv6, mac)
        key = _address_key(network.name, address)
        if address == network.ipv6.partition("/")[0] or not self._is_free(key, name):
            raise Conflict(
                f"nics.{name}: the address {address} of the network {network.name} is taken",
                hint=f"write one: nics.{name}.addresses=ADDRESS",
            )
        return self._keep(name, network, address, 64)

    def _keep(self, name: str, network: NetworkRecord, address: str, prefix: int) -> str:
        self.keys[_address_key(network.name, address)] = f"{self._record.id} {name}"
        return f"{address}/{prefix}"

    def _port(self, text: str, config: Config) -> None:
        wanted, key = host_ports(text), f"ports/{text}"
        for other in self._changes.keys("ports/"):
            owner, _nic = _owner(self._changes, other)
            if owner != self._record.id and wanted.meets(host_ports(other.removeprefix("ports/"))):
                target = config.ports[text]
                raise Exists(
                    f"ports.{text}={target.first}: the instance {self._name_of(owner)!r} has "
                    f"ports.{other.removeprefix('ports/')} already",
                    hint="choose another port of the host",
                    key=f"ports.{text}",
                )
        self.keys[key] = f"{self._record.id} ports"

    def _is_free(self, key: str, name: str) -> bool:
        owner, nic = _owner(self._changes, key)
        is_ours = not owner or (owner == self._record.id and nic == name)
        return is_ours and self.keys.get(key, "").partition(" ")[2] in ("", name)

    def _take(self, entry: str, name: str, key: str, text: str, *, what: str = "it") -> None:
        if not self._is_free(entry, name):
            owner, nic = _owner(self._changes, entry)
            if not owner or owner == self._record.id:
                owner, _space, nic = self.keys[entry].partition(" ") if entry in self.keys else (owner, "", nic)
            raise Exists(
                f"{key}={text}: nics.{nic} of the instance {self._name_of(owner)!r} has {what} already",
                hint="choose another, or change that instance first",
                key=key,
            )
        self.keys[entry] = f"{self._record.id} {name}"

    def _name_of(self, instance_id: str) -> str:
        if instance_id == self._record.id:
            return self._record.name
        try:
            return records.of_id(self._changes, instance_id).name
        except NotFound:
            return instance_id


def expect_possible(config: Config) -> None:
    """Raise Invalid for keys that do not go together, and for more nics than there are numbers."""
    nic_keys.check(config.nics, config.ports)
    if len(config.nics) > MAX_NICS:
        raise Invalid(f"{len(config.nics)} nics are more than an instance can have ({MAX_NICS})")
