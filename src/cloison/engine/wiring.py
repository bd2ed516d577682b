"""Networks of an installation: made, changed, brought up, taken down.

A network exists in the store; its bridge, rules and dnsmasq are there from the first instance that needs it on, until
the network is deleted: see `cloison.engine.network_life`, which is imported where something is done there.
"""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Busy, Conflict, Exists, NotFound
from cloison.base.ids import check_name
from cloison.engine import claims, networks, records
from cloison.engine.networks import NetworkRecord
from cloison.engine.records import Record
from cloison.engine.results import NetworkInfo
from cloison.network import programs
from cloison.network.network import Network, table_of
from cloison.network.network import Rule as PacketRule
from cloison.spec import networks as options_of
from cloison.spec.config import Config
from cloison.spec.networks import AUTO, Options
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
        if not programs.are_there(value):
            from cloison.engine import network_life

            network_life.expect_possible(value)

    def _create(self, name: str, options: Options) -> NetworkRecord:
        from cloison.engine import network_places

        self.expect_known(options.rules, "rules")
        for turn in range(_TRIES):
            record = network_places.planned(self._engine.layout.root, self.all(), name, options, turn)
            try:
                with self._engine.store.transaction() as changes:
                    networks.add(changes, record)
                    changes.record(name, "network-created", " ".join(record.subnets))
                return record
            except Exists:
                if self._engine.store.get(f"networks/{name}") is not None or options.ipv4 != AUTO != options.ipv6:
                    raise
        raise Conflict(f"no subnet for the network {name!r} has stayed free", hint="name one: ipv4=10.9.0.1/24")

    def set(self, name: str, *assignments: str) -> NetworkRecord:
        """Change options; what is up follows at once: rules, isolation, NAT, names. Nics that are there keep their MTU
        until their next start.

        Raises Invalid, NotFound, and Busy for another subnet or parent while instances are on it."""
        from cloison.engine import network_life, network_places

        before = self.get(name)
        options = options_of.assign_all(before.options, assignments)
        after = msgspec.structs.replace(before, options=options)
        if (options.ipv4, options.ipv6, options.parent, options.vlan) != _places(before.options):
            self._expect_unused(name, "get another subnet or parent")
            planned = network_places.planned_anew(self._engine.layout.root, self.all(), before, options)
            after = msgspec.structs.replace(planned, created_ns=before.created_ns)
        if options.isolated != before.options.isolated and network_places.is_shared(after):
            self._expect_unused(name, "be isolated, or no longer")  # the kernel is told when one of them is made
        self.expect_known(options.rules, "rules")
        was_up = network_life.is_up(self.value(before))
        if was_up and (after.bridge, after.subnets) != (before.bridge, before.subnets):
            network_life.down(self._engine, self.value(before))
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
        from cloison.engine import network_life

        network_life.follow(self._engine, self.value(self.get(name)))

    def delete(self, name: str) -> None:
        """Delete a network, and take everything of it back. Raises NotFound, and Busy while an instance is on it."""
        from cloison.engine import network_life

        record = self.get(name)
        self._expect_unused(name, "be deleted")
        network_life.down(
            self._engine, self.value(record)
        )  # first: whoever dies here leaves a network that is down, and can be deleted again
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
        from cloison.engine import network_life

        value = self.value(self.get(name))
        return value, network_life.up(self._engine, value)

    def plan(self, name: str) -> "Plan":
        """The plan that would bring a network up now, for people to read. Raises NotFound, Unsupported."""
        from cloison.engine import network_life

        return network_life.plan(self._engine, self.value(self.get(name)))

    def repair(self) -> tuple[str, ...]:
        """Take down what is left on this host of networks that no record knows any more; gives their names. Leases of
        what does not run are given back."""
        from cloison.engine import network_life

        network_life.give_back_unused(self._engine, tuple(self.value(record) for record in self.all()))
        return network_life.take_down_unknown(self._engine, self.all())

    def leave(self, record: Record) -> None:
        """Free what is leased to an instance that does not run and will not come back."""
        for network in self.all():
            if _is_on(record, network.name):
                from cloison.engine import network_life

                network_life.give_back(self.value(network), record)

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
