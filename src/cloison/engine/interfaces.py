"""From the nics of an instance to interfaces with nothing left to look up.

What depends on the host (which interfaces it has, which of its ports are in use) is judged where it is set
(`cloison.engine.acceptance`), and again here, at every start, since hosts change.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Invalid
from cloison.engine.acceptance import expect_parent, expect_unheard
from cloison.engine.records import Claim, Record
from cloison.engine.wiring import Networks
from cloison.network import dnsmasq, ground, host, leases
from cloison.network import nic as packets
from cloison.network.network import Network, Rule, index_of, table_of
from cloison.network.network import host_of as without_prefix
from cloison.spec.config import Config
from cloison.spec.network import Interface
from cloison.spec.nic_keys import host_ports
from cloison.spec.nics import (
    BRIDGED,
    DHCP,
    MACVLAN,
    NONE,
    P2P,
    PHYS,
    ROUTED,
    WHOLE,
    HostPorts,
    Nic,
    Target,
)

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

GATEWAYS = ("169.254.1.1", "fe80::1")  # of what is routed: the host's end, which needs no subnet for that
_OF_VETHS = ("ingress_bps", "egress_bps", "mac_filter", "ip_filter", "rules")


def interfaces(
    engine: "Engine", record: Record, *, is_dry: bool = False, before: Config | None = None, is_ruled: bool = False
) -> tuple[Interface, ...]:
    """The interfaces of `record.config`, by number; its networks are up afterwards, unless `is_dry`. What the nics and
    ports of `before` have of the host is theirs already, and not asked for again. `is_ruled`: as if each had rules.

    Raises Invalid, Exists for what the host does not have or somebody else uses, and what keeps a network from coming
    up."""
    config, before = record.config, before or Config()
    found = []
    for name, nic in config.nics.items():
        if nic.kind not in WHOLE:
            made = _Made(engine, record, name, nic, record.claims[name], before, is_dry=is_dry, is_ruled=is_ruled)
            found.append(made.interface(dict(ports_of(config, name))))
    return _with_one_way_out(config, sorted(found, key=lambda each: each.number))


def _with_one_way_out(config: Config, found: list[Interface]) -> tuple[Interface, ...]:
    """One default route for each family: that which was written down, else that of the first nic that has one."""
    taken = {":" in each for nic in config.nics.values() for each in nic.gateway if each != NONE}
    made = []
    for interface in found:
        if not config.nics[interface.name].gateway:
            free = tuple(each for each in interface.gateways if (":" in each) not in taken)
            taken |= {":" in each for each in free}
            interface = msgspec.structs.replace(interface, gateways=free)
        made.append(interface)
    return tuple(made)


def ports_of(config: Config, name: str) -> Iterator[tuple[str, Target]]:
    """The ports of the host that lead to one nic; those that name none lead to the first."""
    first = next(iter(sorted(config.nics)), "")
    for text, target in config.ports.items():
        if (target.nic or first) == name:
            yield text, target


def host_name(instance_id: str, number: int) -> str:
    """The name of the host's end of a pair."""
    return f"v{instance_id[:8]}n{number}"


class _Made:
    """One nic on its way to an interface."""

    def __init__(
        self,
        engine: "Engine",
        record: Record,
        name: str,
        nic: Nic,
        claim: Claim,
        before: Config,
        *,
        is_dry: bool,
        is_ruled: bool,
    ) -> None:
        self._is_ruled = is_ruled
        self._before = before
        self._engine = engine
        self._record = record
        self._name = name
        self._nic = nic
        self._claim = claim
        self._is_dry = is_dry
        self._network: Network | None = None
        self._index = 0
        self._master = nic.parent
        self._kind = nic.kind
        if nic.on:
            self._enter(nic.on)
        elif nic.parent:
            self._lean(nic.parent)

    def _enter(self, name: str) -> None:
        networks = Networks(self._engine)
        if self._is_dry:
            self._network = networks.value(networks.get(name))
            link = host.interface(self._network.bridge)
            self._index = link.index if link else index_of(self._network)
        else:
            self._network, self._index = networks.up(name)
            leases.take_over(self._network, self._claim.mac, self._claim.addresses)
        self._master = self._network.bridge
        if not self._network.is_own and self._kind == BRIDGED:
            self._lean(self._network.bridge)

    def _lean(self, parent: str) -> None:
        """On an interface of the host; a nic on a network over one that is no bridge shares it, as a macvlan does."""
        if self._nic.parent:
            held = self._before.nics.get(self._name, Nic())
            expect_parent(self._name, self._nic, is_held=held.parent == self._nic.parent)
        link = host.interface(parent)
        if link is None:
            return
        self._index = link.index
        if self._network is not None and link.kind != "bridge":
            for field in _OF_VETHS:
                if getattr(self._nic, field) or (field == "rules" and self._network.rules):
                    raise Invalid(
                        f"nics.{self._name}: the network {self._network.name} is on {parent}, which is no bridge, and "
                        "there nothing can be limited or filtered",
                        hint="put the interface into a bridge, and make that the network's parent",
                    )
            self._kind = MACVLAN

    def interface(self, ports: dict[str, Target]) -> Interface:
        """It, with everything that it needs."""
        nic, claim, network = self._nic, self._claim, self._network
        has_end = self._kind in (BRIDGED, ROUTED, P2P)
        end = host_name(self._record.id, claim.number) if has_end else nic.parent if nic.kind == PHYS else ""
        for text, target in ports.items():
            if not has_end:
                raise Invalid(f"ports.{text}: nics.{self._name} is not behind this host", key=f"ports.{text}")
            if text not in self._before.ports:
                expect_unheard(text, target)
        rules = self._rules(end, ports) if has_end else None
        nft = packets.document(rules) if rules else ""
        if not self._is_dry and (network is None or not network.is_own):
            self._prepare_ground(is_ruled=bool(rules and (nft or rules.is_ruled)))
        return Interface(
            number=claim.number,
            type=self._kind,
            name=self._name,
            host_name=end,
            mac=claim.mac,
            mtu=nic.mtu or (network.mtu if network else 0),
            addresses=() if nic.addresses == (DHCP,) else claim.addresses,
            gateways=() if nic.addresses == (DHCP,) else self._gateways(),
            routes=nic.routes,
            master="" if nic.kind == PHYS else self._master,
            master_index=0 if nic.kind == PHYS else self._index,
            mode=self._mode(),
            vlan=nic.vlan or 0,
            is_isolated=bool(network and network.is_isolated and self._kind == BRIDGED),
            is_hairpin=bool(ports) and self._kind == BRIDGED and host.filters_bridges(),
            is_on_loopback=bool(rules and rules.is_on_loopback),
            ingress_bps=nic.ingress_bps or 0,
            egress_bps=(nic.egress_bps or 0) if has_end else 0,
            proxies=self._proxies(),
            files=self._files(end),
            nft=nft,
            nft_undo=packets.remove(rules) if rules and (nft or rules.is_ruled) else "",
        )

    def _mode(self) -> str:
        """On an isolated network over an interface of the host, siblings are kept apart by the kernel."""
        if self._kind != MACVLAN or self._nic.mode:
            return self._nic.mode
        return "private" if self._network is not None and self._network.is_isolated else "bridge"

    def _prepare_ground(self, *, is_ruled: bool) -> None:
        """What a network of cloison's own would have seen to."""
        name, run = table_of(self._engine.layout.root), self._engine.driver.carry_out
        if self._kind == ROUTED:
            for is_v6 in sorted({":" in each for each in self._claim.addresses}):
                ground.ensure(ground.Ground(name, self._master, is_v6), run)
        if is_ruled and ground.ensure_rules(name, run):
            self._engine.restore_networks()

    def _gateways(self) -> tuple[str, ...]:
        if self._nic.gateway:
            return () if self._nic.gateway == (NONE,) else self._nic.gateway
        families = {":" in each for each in self._claim.addresses}
        if self._kind == ROUTED:
            return tuple(each for each in GATEWAYS if (":" in each) in families)
        if self._network is None or self._network.is_internal:
            return ()
        own = (without_prefix(each) for each in (self._network.ipv4, self._network.ipv6) if each)
        return tuple(each for each in own if (":" in each) in families)

    def _proxies(self) -> tuple[tuple[str, int], ...]:
        """What is routed is looked for on the bridge of its network, or on the interface that it is said to be on."""
        if self._kind != ROUTED or not self._index:
            return ()
        return tuple((without_prefix(each), self._index) for each in self._claim.addresses)

    def _files(self, end: str) -> tuple[tuple[str, str], ...]:
        if self._network is None or not end:
            return ()
        known = dnsmasq.Reservation(end, self._record.name, self._claim.mac, self._claim.addresses)
        return dnsmasq.files(self._network, known)

    def _of_parent(self) -> tuple[Rule, ...]:
        """The rules of a network without a bridge of its own, which has no other place for them."""
        return self._network.rules if self._network is not None and not self._network.is_own else ()

    def _is_ruled_by_network(self) -> bool:
        """Whether its network has rules for it; of whom they speak may be nobody now."""
        if self._network is None or self._network.is_own:
            return False
        return bool(Networks(self._engine).get(self._network.name).options.rules)

    def _rules(self, end: str, ports: dict[str, Target]) -> packets.Nic:
        nic = self._nic
        wanted = tuple(_port(host_ports(text), target) for text, target in sorted(ports.items()))
        return packets.Nic(
            table=table_of(self._engine.layout.root),
            host_name=end,
            mac=self._claim.mac,
            addresses=self._claim.addresses,
            prefix6=self._network.ipv6 if self._network else "",
            ports=wanted,
            is_on_loopback=self._kind in (ROUTED, P2P) and any(map(_is_on_loopback, wanted)),
            rules=(*Networks(self._engine).resolved(nic.rules), *self._of_parent()),
            is_ruled=self._is_ruled or bool(nic.rules) or self._is_ruled_by_network(),
            is_mac_filtered=nic.mac_filter,
            is_ip_filtered=nic.ip_filter,
            egress_bps=nic.egress_bps or 0,
            member_of=self._network.name if nic.kind == ROUTED and self._network and self._network.is_own else "",
        )


def _is_on_loopback(port: packets.Port) -> bool:
    return not port.address or port.address.startswith("127.")


def _port(ports: HostPorts, target: Target) -> packets.Port:
    return packets.Port(ports.protocol, ports.first, ports.last, target.first, ports.address)
