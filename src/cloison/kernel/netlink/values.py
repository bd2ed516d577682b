"""What the kernel says about interfaces, addresses, routes and neighbours, as values. Pure.

Each `read_` function takes the body of one message, and raises Kernel where it is malformed; it gives None for what is
not of its kind. Source: rtnetlink(7), linux/if_link.h.
"""

import struct

import msgspec

from cloison.base.errors import Kernel
from cloison.kernel.netlink import inet, links, routes
from cloison.kernel.netlink.wire import attributes, each_attribute, fixed, number, words

_COUNTERS = struct.Struct("=8Q")  # the first eight of struct rtnl_link_stats64
_INTERNET = (inet.AF_INET, inet.AF_INET6)
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")


class Counters(msgspec.Struct, frozen=True):
    """What an interface has counted since it was made."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """One interface. `kind` is `veth`, `bridge` and so on, empty for hardware and the loopback.

    `parent` is the index of a veth's peer, or of what a macvlan or vlan is on; `parent_nsid` is the number of the
    namespace that this index is in (None: the same), -1 where that namespace has none. `master` is the index of its
    bridge. `operstate` is a word of /sys/class/net/*/operstate. `counters` is None where the kernel left them out."""

    index: int
    name: str
    altnames: tuple[str, ...] = ()
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    flags: int = 0
    operstate: str = "unknown"
    master: int = 0
    parent: int = 0
    parent_nsid: int | None = None
    alias: str = ""
    is_isolated: bool = False
    counters: Counters | None = None

    @property
    def is_up(self) -> bool:
        """Whether it was set up; `operstate` says whether there is somebody at the other end."""
        return bool(self.flags & links.IFF_UP)


class Address(msgspec.Struct, frozen=True):
    """An address of the interface `index`: its text, prefix length, RT_SCOPE_ number and IFA_F_ flags."""

    index: int
    address: str
    prefix: int
    scope: int
    flags: int
    broadcast: str = ""


class Neighbour(msgspec.Struct, frozen=True):
    """Who has `address` on the interface `index`: `mac`, empty where nobody answered; NUD_ number `state`.

    `is_proxy`: this host answers for it."""

    index: int
    address: str
    mac: str
    state: int
    is_proxy: bool


def read_interface(body: bytes) -> Interface | None:
    """From RTM_NEWLINK. None for a message about a bridge's port (AF_BRIDGE), which repeats what others say."""
    family, _hardware, index, flags, _mask = fixed(links.IFINFOMSG, body)
    if family:
        return None
    found = attributes(body, links.IFINFOMSG.size)
    info = attributes(found.get(links.IFLA_LINKINFO, b""))
    is_port = words(info.get(links.IFLA_INFO_SLAVE_KIND)) == "bridge"
    port = attributes(info.get(links.IFLA_INFO_SLAVE_DATA, b"")) if is_port else {}
    operstate = number(found.get(links.IFLA_OPERSTATE))
    return Interface(
        index=index,
        name=words(found.get(links.IFLA_IFNAME)),
        altnames=_altnames(found.get(links.IFLA_PROP_LIST, b"")),
        kind=words(info.get(links.IFLA_INFO_KIND)),
        mac=found.get(links.IFLA_ADDRESS, b"").hex(":"),
        mtu=number(found.get(links.IFLA_MTU)),
        flags=flags,
        operstate=_OPERSTATES[operstate] if operstate < len(_OPERSTATES) else "unknown",
        master=number(found.get(links.IFLA_MASTER)),
        parent=number(found.get(links.IFLA_LINK)),
        parent_nsid=_signed(found.get(links.IFLA_LINK_NETNSID)),
        alias=words(found.get(links.IFLA_IFALIAS)),
        is_isolated=bool(number(port.get(links.IFLA_BRPORT_ISOLATED))),
        counters=_counters(found.get(links.IFLA_STATS64)),
    )


def read_address(body: bytes) -> Address | None:
    """From RTM_NEWADDR. None for a family that is not IPv4 or IPv6."""
    family, prefix, flags, scope, index = fixed(routes.IFADDRMSG, body)
    if family not in _INTERNET:
        return None
    found = attributes(body, routes.IFADDRMSG.size)
    raw = found.get(routes.IFA_LOCAL) or found.get(routes.IFA_ADDRESS)
    return Address(
        index=index,
        address=_text(raw),
        prefix=prefix,
        scope=scope,
        flags=number(found.get(routes.IFA_FLAGS), flags),
        broadcast=_text(found.get(routes.IFA_BROADCAST)),
    )


def read_route(body: bytes) -> routes.Route | None:
    """From RTM_NEWROUTE. None for a family that is not IPv4 or IPv6 (multicast routing)."""
    family, length, _source, _tos, table, protocol, _scope, kind, flags = fixed(routes.RTMSG, body)
    if family not in _INTERNET:
        return None
    found = attributes(body, routes.RTMSG.size)
    anywhere = bytes(4 if family == inet.AF_INET else 16)
    return routes.Route(
        to=f"{_text(found.get(routes.RTA_DST) or anywhere)}/{length}",
        device=number(found.get(routes.RTA_OIF)),
        via=_text(found.get(routes.RTA_GATEWAY)),
        is_onlink=bool(flags & routes.RTNH_F_ONLINK),
        metric=number(found.get(routes.RTA_PRIORITY)),
        source=_text(found.get(routes.RTA_PREFSRC)),
        table=number(found.get(routes.RTA_TABLE), table),
        kind=kind,
        protocol=protocol,
    )


def read_device(body: bytes) -> int:
    """Of RTM_NEWROUTE the index of the interface alone; 0 where there is none. Asked for at every start."""
    return number(attributes(body, routes.RTMSG.size).get(routes.RTA_OIF))


def read_neighbour(body: bytes) -> Neighbour | None:
    """From RTM_NEWNEIGH. None for a family that is not IPv4 or IPv6 (a bridge's forwarding table)."""
    family, index, state, flags, _kind = fixed(routes.NDMSG, body)
    if family not in _INTERNET:
        return None
    found = attributes(body, routes.NDMSG.size)
    return Neighbour(
        index=index,
        address=_text(found.get(routes.NDA_DST)),
        mac=found.get(routes.NDA_LLADDR, b"").hex(":"),
        state=state,
        is_proxy=bool(flags & routes.NTF_PROXY),
    )


def _altnames(properties: bytes) -> tuple[str, ...]:
    return tuple(words(value) for kind, value in each_attribute(properties) if kind == links.IFLA_ALT_IFNAME)


def _counters(raw: bytes | None) -> Counters | None:
    return None if raw is None else Counters(*fixed(_COUNTERS, raw))


def _signed(raw: bytes | None) -> int | None:
    return None if raw is None else fixed(struct.Struct("=i"), raw)[0]


def _text(raw: bytes | None) -> str:
    if not raw:
        return ""
    if len(raw) not in (4, 16):
        raise Kernel(f"a netlink message has an internet address of {len(raw)} bytes")
    return inet.text(raw)
