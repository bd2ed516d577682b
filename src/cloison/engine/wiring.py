"""Networks of an installation: made, changed, brought up, taken down.

A network exists in the store; its bridge, rules and dnsmasq are there from the first instance that needs it on, until
the network is deleted. What the host has is asked of `cloison.network`, and what is done to it is done there.
"""

import binascii
import contextlib
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cloison.base import inet
from cloison.base.errors import Busy, Conflict, Exists, Invalid, NotFound
from cloison.base.ids import check_name
from cloison.engine import claims, networks, records
from cloison.engine.networks import NetworkRecord
from cloison.engine.records import Record
from cloison.engine.results import NetworkInfo
from cloison.network import ground, host, leases, subnets, upkeep
from cloison.network.network import Network, table_of
from cloison.network.network import Rule as PacketRule
from cloison.spec import networks as options_of
from cloison.spec.config import Config
from cloison.spec.networks import AUTO, NONE, Options
from cloison.spec.nic_keys import MAX_NAME
from cloison.spec.nics import DEFAULT_NETWORK
from cloison.spec.rules import Rule, is_address

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.plan.plan import Plan
    from cloison.spec.finding import Finding

_TRIES = 20


class Networks:
    """The networks of one installation; `Engine.networks` has it."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    # --- look --------------------------------------------------------------------------------------------

    def all(self) -> tuple[NetworkRecord, ...]:
        """All of them, by name."""
        return networks.load_all(self._engine.store)

    def get(self, name: str) -> NetworkRecord:
        """One of them. Raises NotFound."""
        return networks.load(self._engine.store, name)

    def list(self) -> tuple[NetworkInfo, ...]:
        """All of them by name, with who is on them; without leases, rules and counts."""
        from cloison.engine import network_inspection

        return network_inspection.briefs(self._engine, self)

    def info(self, name: str) -> NetworkInfo:
        """All there is to know about one of them. Raises NotFound."""
        from cloison.engine import network_inspection

        return network_inspection.info(self._engine, self, self.get(name))

    def findings(self) -> "tuple[Finding, ...]":
        """What of this host is in the way of networks, and what would help."""
        from cloison.network import findings

        known = self.all() or (NetworkRecord(DEFAULT_NETWORK, DEFAULT_NETWORK, 0),)  # the one that there will be
        return tuple(findings.findings(findings.look(self.value(record) for record in known)))

    def users(self, name: str) -> tuple[str, ...]:
        """The instances with a nic on a network, by name."""
        return tuple(record.name for record in records.load_all(self._engine.store) if _is_on(record, name))

    # --- change ------------------------------------------------------------------------------------------

    def create(self, name: str, options: Iterable[str] = ()) -> NetworkRecord:
        """Make a network; `options` are `name=value`, see `cloison.spec.networks`. Nothing of it is on the host yet.

        Raises Invalid, Exists for a name or a subnet that somebody has, NotFound for a parent that is not there."""
        check_name(name, what="a network")
        record = self._create(name, options_of.assign_all(Options(), options))
        self._engine.names_changed({name})
        return record

    def needed(self, configs: Iterable[Config]) -> None:
        """Make the default network where one of `configs` has a nic on it, and it is not there yet."""
        is_needed = any(nic.on == DEFAULT_NETWORK for config in configs for nic in config.nics.values())
        if is_needed and self._engine.store.get(f"networks/{DEFAULT_NETWORK}") is None:
            with contextlib.suppress(Exists):  # somebody else has made it just now
                self._create(DEFAULT_NETWORK, Options())
            self.get(DEFAULT_NETWORK)

    def expect_possible(self, name: str, key: str) -> None:
        """Raise NotFound where there is no such network, which `key` asks for, and Unsupported where this host lacks a
        program that it takes."""
        if self._engine.store.get(f"networks/{name}") is None:
            raise networks.missing(name, key)
        value = self.value(self.get(name))
        if not upkeep.is_up(value):
            upkeep.expect_programs(value)

    def _create(self, name: str, options: Options) -> NetworkRecord:
        for turn in range(_TRIES):
            record = self._planned(name, options, turn)
            try:
                with self._engine.store.transaction() as changes:
                    networks.add(changes, record)
                    changes.record(name, "network-created", " ".join(record.subnets))
                return record
            except Exists:
                if self._engine.store.get(f"networks/{name}") is not None or options.ipv4 != AUTO != options.ipv6:
                    raise
        raise Conflict(f"no subnet for the network {name!r} has stayed free", hint="name one: ipv4=10.9.0.1/24")

    def _planned(self, name: str, options: Options, turn: int) -> NetworkRecord:
        facts = host.look()
        self.expect_known(options.rules, "rules")
        if options.parent:
            if facts.interface(options.parent) is None:
                raise _no_interface("parent", options.parent)
            return NetworkRecord(name, _bridge_over(facts, options), time.time_ns(), options=options)
        taken = (
            *facts.taken(),
            *((each, f"the network {other.name!r}") for other in self.all() for each in other.subnets),
        )
        seed = binascii.crc32(f"{self._engine.layout.root}/{name}/{turn}".encode())
        found = {}
        for family, text in (("ipv4", options.ipv4), ("ipv6", options.ipv6)):
            if text not in (AUTO, NONE):
                _expect_apart(family, text, taken)
            found[family] = "" if text == NONE else text
        cidrs = [cidr for cidr, _who in taken]
        if options.ipv4 == AUTO:
            found["ipv4"] = subnets.free_ipv4(cidrs, seed)
        if options.ipv6 == AUTO:
            found["ipv6"] = subnets.free_ipv6(cidrs, int.from_bytes(os.urandom(5), "big")) if host.has_ipv6() else ""
        return NetworkRecord(name, self._bridge(name, facts), time.time_ns(), found["ipv4"], found["ipv6"], options)

    def _bridge(self, name: str, facts: host.Host) -> str:
        """The network's own name where that is free and this is the host's own installation; else one made of it."""
        taken = {record.bridge for record in self.all()} | {each.name for each in facts.interfaces}
        if not self._engine.layout.root and len(name) <= MAX_NAME and name not in taken:
            return name
        return f"clo-{binascii.crc32(f'{self._engine.layout.root} {name}'.encode()):08x}"

    def set(self, name: str, *assignments: str) -> NetworkRecord:
        """Change options; what is up follows at once: rules, isolation, NAT, names. Nics that are there keep their MTU
        until their next start.

        Raises Invalid, NotFound, and Busy for another subnet or parent while instances are on it."""
        before = self.get(name)
        options = options_of.assign_all(before.options, assignments)
        after = msgspec.structs.replace(before, options=options)
        if (options.ipv4, options.ipv6, options.parent, options.vlan) != _places(before.options):
            self._expect_unused(name, "get another subnet or parent")
            planned = self._planned_anew(before, options)
            after = msgspec.structs.replace(planned, created_ns=before.created_ns)
        if options.isolated != before.options.isolated and _is_shared(after):
            self._expect_unused(name, "be isolated, or no longer")  # the kernel is told when one of them is made
        self.expect_known(options.rules, "rules")
        was_up = upkeep.is_up(self.value(before))
        if was_up and (after.bridge, after.subnets) != (before.bridge, before.subnets):
            self._down(before)
        with self._engine.store.transaction() as changes:
            if networks.find(changes, name, "") != before:
                raise Busy(f"the network {name!r} has just been changed by somebody else", hint="try again")
            for other in self.all():
                if other.name != name:
                    networks.expect_apart(after, other)
            networks.save(changes, after)
            changes.record(name, "network-changed", " ".join(assignments))
        if was_up:
            self.up(name)
        self._followed(name, self.value(before), self.value(after))
        return after

    def _followed(self, name: str, before: Network, after: Network) -> None:
        """What runs does what the network says now."""
        self._engine.network_changed(before, after)
        if before.subnets != after.subnets:
            self._engine.names_changed({name})

    def follow(self, name: str) -> None:
        """Have the packet rules of a network that is up be those of whom they name now. Raises NotFound."""
        upkeep.follow(self.value(self.get(name)), self._engine.driver.carry_out)

    def _planned_anew(self, before: NetworkRecord, options: Options) -> NetworkRecord:
        """With the subnets that it has already, where they are still to be chosen by cloison."""
        kept = {
            family: getattr(before, family)
            for family in ("ipv4", "ipv6")
            if getattr(options, family) == AUTO and getattr(before, family) and not options.parent
        }
        facts = host.look()
        if options.parent:
            return self._planned(before.name, options, 0)
        taken = [
            (cidr, who) for cidr, who in facts.taken() if not any(inet.is_within(cidr, own) for own in before.subnets)
        ]
        for family in ("ipv4", "ipv6"):
            text = getattr(options, family)
            if text not in (AUTO, NONE):
                _expect_apart(family, text, taken)
                kept[family] = text
        missing = [f for f in ("ipv4", "ipv6") if f not in kept and getattr(options, f) == AUTO]
        planned = self._planned(before.name, Options(), 0) if missing else None
        chosen = {family: getattr(planned, family) for family in missing}
        bridge = before.bridge if not before.options.parent else self._bridge(before.name, facts)
        return NetworkRecord(
            before.name, bridge, before.created_ns, **{"ipv4": "", "ipv6": "", **kept, **chosen}, options=options
        )

    def delete(self, name: str) -> None:
        """Delete a network, and take everything of it back. Raises NotFound, and Busy while an instance is on it."""
        record = self.get(name)
        self._expect_unused(name, "be deleted")
        self._down(record)  # first: whoever dies here leaves a network that is down, and can be deleted again
        with self._engine.store.transaction() as changes:
            self._expect_unused(name, "be deleted")  # who has come meanwhile has brought it up again, and keeps it
            changes.delete(f"networks/{name}")
            changes.record(name, "network-deleted")
        self._engine.names_changed({name})

    def _expect_unused(self, name: str, doing: str) -> None:
        users = self.users(name)
        if users:
            raise Busy(
                f"the network {name!r} cannot {doing}: {', '.join(users)} {'is' if len(users) == 1 else 'are'} on it",
                hint="take those nics away first: cloison nic remove NAME NIC",
                name=name,
            )

    # --- on the host -------------------------------------------------------------------------------------

    def up(self, name: str) -> tuple[Network, int]:
        """Bring a network up unless it is; gives it and the index of its bridge. Raises what keeps it from that."""
        value = self.value(self.get(name))
        return value, upkeep.index_if_up(value) or self._bring_up(value)

    def _bring_up(self, value: Network) -> int:
        """Whoever emptied the packet rules of this host has hit others, too: they have theirs back as well. So
        have those who were on a bridge that somebody has deleted."""
        driver = self._engine.driver
        is_whole = ground.has_tables(value.table) and (
            not upkeep.was_up(value) or host.interface(value.bridge) is not None
        )
        is_alone = not value.is_own or is_whole
        index = upkeep.ensure(value, driver.carry_out, driver.places)
        if not is_alone:
            self._engine.restore_networks()
        return index

    def plan(self, name: str) -> "Plan":
        """The plan that would bring a network up now, for people to read. Raises NotFound, Unsupported."""
        return upkeep.plan(self.value(self.get(name)), self._engine.driver.places())

    def _down(self, record: NetworkRecord) -> None:
        upkeep.down(self.value(record), self._engine.driver.carry_out, is_last=self._is_last(record.name))

    def _is_last(self, name: str) -> bool:
        """Whether nobody needs the tables of packet rules but this network."""
        return not self._engine.is_ruled(without=name)

    def repair(self) -> tuple[str, ...]:
        """Take down what is left on this host of networks that no record knows any more; gives their names. Leases of
        what does not run are given back."""
        self._give_back_leases()
        done = []
        for left in upkeep.leftovers(self._engine.layout.network_run(""), {record.name for record in self.all()}):
            if self._engine.store.get(f"networks/{left.name}") is None:  # it may have been made just now
                upkeep.down(left, self._engine.driver.carry_out, is_last=self._is_last(left.name))
                done.append(left.name)
        return tuple(done)

    def leave(self, record: Record) -> None:
        """Free what is leased to an instance that does not run and will not come back."""
        gone = set(claims.addresses(record))
        for network in self.all():
            if _is_on(record, network.name):
                leases.give_back(self.value(network), lambda lease: lease.address in gone)

    def _give_back_leases(self) -> None:
        """Free what is leased to instances that do not run, or are not there any more."""
        known = [record for record in records.load_all(self._engine.store) if record.config.nics or record.live]
        running = [record for record in known if self._engine.driver.observe(record.id).pid]
        taken = {address for record in running for address in claims.addresses(record)}
        for network in self.all():
            leases.give_back(self.value(network), lambda lease: lease.address not in taken)

    def value(self, record: NetworkRecord) -> Network:
        """A network with nothing left to look up. Raises NotFound for a rule about nobody."""
        options, layout = record.options, self._engine.layout
        return Network(
            name=record.name,
            bridge=record.bridge,
            run=layout.network_run(record.name),
            data=layout.network_data(record.name),
            table=table_of(layout.root),
            ipv4=record.ipv4,
            ipv6=record.ipv6,
            is_nat=options.nat,
            is_dhcp=options.dhcp,
            is_dns=options.dns,
            domain=options.domain,
            mtu=options.mtu or 0,
            is_isolated=options.isolated,
            is_internal=options.internal,
            parent=options.parent,
            vlan=options.vlan or 0,
            rules=self.resolved(options.rules),
        )

    # --- rules -------------------------------------------------------------------------------------------

    def expect_known(self, rules: Iterable[Rule], key: str) -> None:
        """Raise NotFound for a rule about an instance or a network that is not there."""
        for rule in rules:
            for name in rule.names:
                if not self._exists(name):
                    raise NotFound(f'{key}: "{rule}": there is no instance and no network {name!r}', name=name)

    def _exists(self, name: str) -> bool:
        store = self._engine.store
        return store.get(f"names/{name}") is not None or store.get(f"networks/{name}") is not None

    def resolved(self, rules: Iterable[Rule]) -> tuple[PacketRule, ...]:
        """Rules with addresses in the place of names. One about somebody without addresses, or who is gone, is about
        nobody: it is left out."""
        found = []
        for rule in rules:
            sources, destinations = self._addresses(rule.sources), self._addresses(rule.destinations)
            if sources is not None and destinations is not None:
                found.append(
                    PacketRule(rule.action, rule.direction, rule.protocol, rule.ports, sources, destinations, str(rule))
                )
        return tuple(found)

    def _addresses(self, whom: tuple[str, ...]) -> tuple[str, ...] | None:
        """() is everybody, None nobody."""
        found = [address for who in whom for address in ((who,) if is_address(who) else self._of(who))]
        return None if whom and not found else tuple(found)

    def _of(self, name: str) -> tuple[str, ...]:
        with contextlib.suppress(NotFound):
            return claims.addresses(records.load(self._engine.store, name))
        with contextlib.suppress(NotFound):
            return self.get(name).subnets
        return ()


def _places(options: Options) -> tuple[str, str, str, int | None]:
    return options.ipv4, options.ipv6, options.parent, options.vlan


def _is_on(record: Record, name: str) -> bool:
    configs = (record.config, record.live) if record.live else (record.config,)
    return any(nic.on == name for config in configs for nic in config.nics.values())


def _is_shared(record: NetworkRecord) -> bool:
    """Whether nics on it are macvlans: it is over an interface of the host that is no bridge."""
    link = host.interface(record.options.parent) if record.options.parent else None
    return link is not None and link.kind != "bridge"


def _bridge_over(facts: host.Host, options: Options) -> str:
    """What nics are attached to: the parent, or an interface for one VLAN of a parent that is no bridge."""
    parent = facts.interface(options.parent)
    if parent is None or options.vlan is None or parent.kind == "bridge":
        return options.parent
    name = f"{options.parent}.{options.vlan}"
    return name if len(name) <= MAX_NAME else f"clo-{binascii.crc32(name.encode()):08x}"


def _expect_apart(family: str, cidr: str, taken: Iterable[tuple[str, str]]) -> None:
    who = subnets.collision(inet.subnet(cidr), taken)
    if who:
        raise Exists(
            f"{family}={cidr}: {inet.subnet(cidr)} overlaps {who}",
            hint="choose another subnet, or leave it out to have a free one chosen",
            key=family,
        )


def _no_interface(key: str, name: str) -> Invalid:
    return Invalid(f"{key}={name}: this host has no interface {name!r}", hint="`ip link` lists them", key=key)
