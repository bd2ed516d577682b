"""What this host has: interfaces, routes, listening sockets. Each question is asked when it is put, and cheap."""

import contextlib
import re
import socket

import msgspec

from cloison.base import inet
from cloison.kernel import inventory, rtnetlink, sockets
from cloison.kernel.netlink import routes
from cloison.kernel.netlink.values import Interface
from cloison.network.network import overlap

ANYWHERE = ("0.0.0.0", "::")
_ANYWHERE6 = "2000::1"  # in the range of the world's addresses, and of nobody
_OF_INSTANCES = re.compile("v[0-9a-f]{8}n[0-9]+")  # the host's ends, see `cloison.engine.interfaces`


class Host(msgspec.Struct, frozen=True):
    """The network of the host at one moment. Routes are those of every table but `local`, without the loopback's.

    `addresses` are CIDR with the index of their interface."""

    interfaces: tuple[Interface, ...]
    routes: tuple[routes.Route, ...]
    addresses: tuple[tuple[int, str], ...]

    def interface(self, name: str) -> Interface | None:
        """One by its name or an alternative one."""
        return next((each for each in self.interfaces if name == each.name or name in each.altnames), None)

    def name_of(self, index: int) -> str:
        """The name of an interface; empty where it is gone."""
        return next((each.name for each in self.interfaces if each.index == index), "")

    def default_devices(self) -> tuple[str, ...]:
        """The interfaces that carry a default route, IPv4 first."""
        ways = sorted((each for each in self.routes if each.to.endswith("/0") and each.device), key=_is_v6)
        return tuple(dict.fromkeys(name for each in ways if (name := self.name_of(each.device))))

    def uplinks(self, without: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The interfaces out of which there is a route, but for those named. Every interface has one to itself in IPv6
        (fe80::/64): that leads nowhere."""
        ways = (
            each for each in self.routes if each.kind == routes.RTN_UNICAST and not inet.is_within(each.to, "fe80::/10")
        )
        names = dict.fromkeys(self.name_of(each.device) for each in ways)
        return tuple(name for name in names if name and name != "lo" and name not in without)

    def taken(self) -> tuple[tuple[str, str], ...]:
        """Every subnet that is in use, with who has it, in words. Default routes and link-local ones are none."""
        found = {cidr: f"an address of {self.name_of(index)}" for index, cidr in self.addresses}
        for each in self.routes:
            if not each.to.endswith("/0") and each.to not in found:
                device = self.name_of(each.device)
                found[each.to] = f"a route of the host through {device}" if device else "a route of the host"
        return tuple((cidr, who) for cidr, who in found.items() if not overlap(cidr, _link_local(cidr)))


def look() -> Host:
    """Look at the network of the host: three lists from the kernel, well under a millisecond."""
    with rtnetlink.connect() as connection:
        interfaces = tuple(connection.links())
        ways = tuple(each for each in connection.routes(table=0) if each.table != _TABLE_LOCAL)
        addresses = tuple((each.index, f"{each.address}/{each.prefix}") for each in connection.addresses())
    return Host(interfaces, ways, addresses)


_TABLE_LOCAL = 255


def ways_out(*families: int) -> tuple[str, ...]:
    """The interfaces that a packet to the outside may leave by, for 4 and 6. Asked for at every start: what the kernel
    has to tell grows with neither instances nor, in IPv6, routes, where only the way to anywhere is looked at."""
    found = dict.fromkeys(inventory.ipv4_devices() if 4 in families else ())
    if 6 in families:
        with rtnetlink.connect() as connection:
            index = connection.way_to(_ANYWHERE6)
        with contextlib.suppress(OSError):
            found[socket.if_indextoname(index)] = None
    return tuple(name for name in found if name != "lo" and not _OF_INSTANCES.fullmatch(name))


def interface(name: str) -> Interface | None:
    """One interface of the host by (alternative) name."""
    with rtnetlink.connect() as connection:
        return connection.link(name)


def ports_of(index: int) -> tuple[Interface, ...]:
    """The interfaces on a bridge."""
    with rtnetlink.connect() as connection:
        return tuple(connection.links(master=index))


def listening(protocol: str, first: int, last: int, address: str = "") -> tuple[int, str] | None:
    """A socket of the host's own that has one of these ports already: the port, and whose it is.

    `address` is where it would be; empty stands for every address. One that listens on every address of its family is
    in the way of each of them."""
    for each in sockets.listening():
        if each.protocol == protocol and first <= each.port <= last and _meets(each.address, address):
            return each.port, sockets.owner(each.inode) or f"a socket of the host on {each.address}"
    return None


def filters_bridges() -> bool:
    """Whether what crosses a bridge meets the rules of what is routed (br_netfilter, which Docker loads): then a port
    of the host that leads back to who asks it is led back within the bridge, which does not do so by itself."""
    return inventory.setting("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1"


def has_ipv6() -> bool:
    """Whether the host has IPv6 at all."""
    return inventory.setting("/proc/sys/net/ipv6/conf/all/disable_ipv6") is not None


def _meets(listener: str, wanted: str) -> bool:
    if not wanted:
        return True
    if listener == wanted:
        return True
    return listener in ANYWHERE and (listener == "::" or ":" not in wanted)


def _is_v6(route: routes.Route) -> bool:
    return ":" in route.to


def _link_local(cidr: str) -> str:
    return "fe80::/10" if ":" in cidr else "169.254.0.0/16"
