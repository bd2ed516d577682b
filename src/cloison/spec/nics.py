"""The network of an instance as it is configured: its interfaces (nics), and ports of the host that lead to it. Pure.

How these values are read and written is in `cloison.spec.nic_keys`; what becomes of them at a start is an `Interface`
of `cloison.spec.network`.
"""

import msgspec

from cloison.spec.network import Route
from cloison.spec.rules import Rule

BRIDGED, ROUTED, MACVLAN, IPVLAN, VLAN, PHYS, P2P = "bridged", "routed", "macvlan", "ipvlan", "vlan", "phys", "p2p"
NONE, EMPTY, HOST = "none", "empty", "host"  # no interface at all, and so no other nic beside
WHOLE = (NONE, EMPTY, HOST)
TYPES = (*WHOLE, BRIDGED, ROUTED, MACVLAN, IPVLAN, VLAN, PHYS, P2P)
MACVLAN_MODES = ("bridge", "vepa", "private", "passthru")
IPVLAN_MODES = ("l2", "l3", "l3s")
AUTO, DHCP = "auto", "dhcp"
DEFAULT_NETWORK = "cloison0"
DEFAULT_NIC = "eth0"


class Nic(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network interface as it is configured. An empty `type` is bridged.

    `addresses` is () or ("auto",), ("dhcp",), ("none",), or addresses, where one without a prefix length takes that of
    the network. `gateway` is () for the network's own, or ("none",), or one address of each family. Rates are bits per
    second, seen from the instance: `ingress_bps` is what it receives. `force` lends even the interface that the host
    itself depends on (phys)."""

    type: str = ""
    network: str = ""
    parent: str = ""
    mode: str = ""
    vlan: int | None = None
    mac: str = ""
    mtu: int | None = None
    addresses: tuple[str, ...] = ()
    gateway: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: tuple[str, ...] = ()
    ingress_bps: int | None = None
    egress_bps: int | None = None
    mac_filter: bool = False
    ip_filter: bool = False
    rules: tuple[Rule, ...] = ()
    force: bool = False

    @property
    def kind(self) -> str:
        """Its type, said or not."""
        return self.type or BRIDGED

    @property
    def is_auto(self) -> bool:
        """Whether its addresses are chosen for it."""
        return self.addresses in ((), (AUTO,))

    @property
    def fixed(self) -> tuple[str, ...]:
        """The addresses that were written down."""
        return () if self.addresses and self.addresses[0] in (AUTO, DHCP, NONE) else self.addresses

    @property
    def on(self) -> str:
        """The network that it is on; empty for one that is on an interface of the host, or on nothing."""
        if self.network or self.parent or self.kind not in (BRIDGED, ROUTED):
            return self.network
        return "" if self.kind == ROUTED and not self.is_auto else DEFAULT_NETWORK


def taken_back(before: Nic, field: str) -> Nic | None:
    """What is left of a nic when the last thing that was said of it is not said any more: a nic that is there, about
    which nothing is said. With its type it goes itself, which is then all that there was of it."""
    return Nic(type=BRIDGED) if before != Nic() and field != "type" else None


def by_default(nics: dict[str, Nic]) -> dict[str, Nic]:
    """The nics of a new instance: where none is said, one on the default network."""
    return nics or {DEFAULT_NIC: Nic(type=BRIDGED)}


def are_wired(nics: dict[str, Nic]) -> bool:
    """Whether there is an interface to be made: not for a loopback alone, and not for the host's network."""
    return any(nic.kind not in WHOLE for nic in nics.values())


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a port of the host leads: ports `first` to `last` of the instance, on its nic (empty: the first one)."""

    first: int
    last: int
    nic: str = ""


class HostPorts(msgspec.Struct, frozen=True):
    """Ports of the host: of `address`, or of all its addresses where that is empty; `protocol` is tcp or udp."""

    protocol: str
    first: int
    last: int
    address: str = ""

    def __str__(self) -> str:
        host = f"[{self.address}]:" if ":" in self.address else f"{self.address}:" if self.address else ""
        return f"{host}{ports_text(self.first, self.last)}/{self.protocol}"

    def meets(self, other: "HostPorts") -> bool:
        """Whether both want the same port."""
        is_one_host = self.address == other.address or "" in (self.address, other.address)
        return is_one_host and self.protocol == other.protocol and self.first <= other.last and other.first <= self.last


def ports_text(first: int, last: int) -> str:
    """`80`, or `8000-8010`."""
    return str(first) if first == last else f"{first}-{last}"
