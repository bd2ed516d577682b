"""A network as a value, with nothing left to look up, and the names of what belongs to it. Pure."""

import zlib

import msgspec

from cloison.base import inet

RULES = "cloison"  # the table of packet rules of the host's own installation
INDEX_BASE = 1 << 30  # the kernel counts from 1: nobody reaches these
_MAC_PREFIX = "02:c1:05"


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule of access, in words that are resolved: every name has become addresses.

    `action` is allow or deny, `direction` is in (towards instances) or out, `protocol` tcp, udp, icmp or any. `ports`
    are (first, last) of the destination; `sources` and `destinations` are addresses or CIDR, none stands for everybody.
    `text` is how people wrote it."""

    action: str
    direction: str
    protocol: str = "any"
    ports: tuple[tuple[int, int], ...] = ()
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    text: str = ""


class Network(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One network. `ipv4` and `ipv6` are the bridge's own addresses with the prefix length, empty where it has none.

    `bridge` is the interface that instances are attached to: cloison's own, or with `parent` the one that the host has
    (then there is no address, NAT, DHCP or DNS of cloison's). `vlan` with a parent that is no bridge: `bridge` is an
    interface for that VLAN on it. `run` and `data` are the network's own directories. `table` is the name of the
    installation's tables of packet rules."""

    name: str
    bridge: str
    run: str
    data: str
    table: str = RULES
    ipv4: str = ""
    ipv6: str = ""
    is_nat: bool = True
    is_dhcp: bool = True
    is_dns: bool = True
    domain: str = "cloison"
    mtu: int = 0
    is_isolated: bool = False
    is_internal: bool = False
    parent: str = ""
    vlan: int = 0
    rules: tuple[Rule, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether the bridge is cloison's."""
        return not self.parent

    @property
    def is_served(self) -> bool:
        """Whether there is a dnsmasq for it."""
        return self.is_own and (self.is_dhcp or self.is_dns) and bool(self.ipv4 or self.ipv6)

    @property
    def subnets(self) -> tuple[str, ...]:
        """What it has, without the host's part: `10.1.2.0/24`."""
        return tuple(inet.subnet(each) for each in (self.ipv4, self.ipv6) if each)


def table_of(root: str) -> str:
    """The name of an installation's tables; `root` is empty for the host's own, else the directory of the other."""
    return f"{RULES}_{zlib.crc32(root.encode()):08x}" if root else RULES


def index_of(network: Network) -> int:
    """The index that its bridge is made with: the same at every time, so that a plan can say it before."""
    return INDEX_BASE | zlib.crc32(f"{network.table} {network.name}".encode()) & 0x0FFFFFFF


def mac_of(network: Network) -> str:
    """The MAC address of its bridge. One that is set does not change with the ports, as one of its own would."""
    raw = zlib.crc32(f"bridge {network.table} {network.name}".encode()).to_bytes(4, "big")
    return f"{_MAC_PREFIX}:{raw[1:].hex(':')}"


def alias_of(network: Network) -> str:
    """What the bridge says of itself, `ip link` shows it: whose it is."""
    return f"{network.table} network {network.name}"


def host_of(address: str) -> str:
    """`10.1.2.1` for `10.1.2.1/24`."""
    return address.partition("/")[0]


def overlap(one: str, other: str) -> bool:
    """Whether two CIDR have an address in common."""
    return inet.is_within(one, other) or inet.is_within(other, one)
