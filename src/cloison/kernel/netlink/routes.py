"""Messages about addresses, routes and proxied neighbours. Pure: each function gives a value, nothing is sent here.

Interfaces are given by index: the kernel looks for no name here. Addresses are text, `10.0.0.2/24` where a prefix
belongs to them. All functions raise Invalid for an address that cannot be.
Source: rtnetlink(7), ip-address(8), ip-route(8), ip-neighbour(8), linux/rtnetlink.h, linux/neighbour.h.
"""

import struct

import msgspec

from cloison.base.errors import Invalid
from cloison.kernel.netlink.inet import AF_INET, broadcast, family, packed, split
from cloison.kernel.netlink.wire import NEW, NLM_F_CREATE, PUT, Encoder, Message

IFADDRMSG = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct(
    "=BBBBBBBBI"
)  # family, lengths of destination and source, tos, table, protocol, scope, kind, flags
NDMSG = struct.Struct("=BxxxiHBB")  # family, (pad), index, state, flags, kind

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 6, 7, 15
RTNH_F_ONLINK = 4
RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT = 1, 2, 6, 7, 8
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST, RT_SCOPE_NOWHERE = 0, 253, 254, 255
RT_TABLE_MAIN, RT_TABLE_COMPAT = 254, 252
RTPROT_BOOT = 3
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8
NTF_PROXY, NUD_PERMANENT = 0x08, 0x80


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route, to be added or as found. `to` is `10.9.0.0/16`; a default route is to `0.0.0.0/0` or `::/0`.

    `device` is an index; 0 where the kernel is to find it, where there is none (`kind` RTN_UNREACHABLE and the like),
    or where there are several (a route found with more than one next hop). `via` of `is_onlink` is taken to be
    reachable on `device` though no route leads there. `source` is the preferred one, `protocol` says who made it
    (rtnetlink(7))."""

    to: str
    device: int = 0
    via: str = ""
    is_onlink: bool = False
    metric: int = 0
    source: str = ""
    table: int = RT_TABLE_MAIN
    kind: int = RTN_UNICAST
    protocol: int = RTPROT_BOOT


def add_address(index: int, address: str, *, is_nodad: bool = False, is_replacing: bool = False) -> Message:
    """Give an interface an address with its prefix length.

    IPv4: with the broadcast address of its subnet. IPv6 with `is_nodad`: usable at once, without asking the neighbours
    for a second. One that is there already is EEXIST, or with `is_replacing` no error."""
    flags = IFA_F_NODAD if is_nodad else 0
    return _address(index, address, flags).message(RTM_NEWADDR, PUT if is_replacing else NEW)


def delete_address(index: int, address: str) -> Message:
    """Take an address with its prefix length away. One that is not there is EADDRNOTAVAIL."""
    return _address(index, address, 0).message(RTM_DELADDR)


def add_route(route: Route, *, is_replacing: bool = False, is_beside: bool = False) -> Message:
    """Add a route. One to the same place with the same metric is EEXIST; or with `is_replacing` replaced, or, of IPv6,
    with `is_beside` no error where it is another one."""
    flags = PUT if is_replacing else NLM_F_CREATE if is_beside else NEW
    return _route(route, _scope(route)).message(RTM_NEWROUTE, flags)


def delete_route(route: Route) -> Message:
    """Delete a route that has all of these properties. One that is not there is ESRCH."""
    is_v4 = family(split(route.to)[0]) == AF_INET
    return _route(route, RT_SCOPE_NOWHERE if is_v4 else RT_SCOPE_UNIVERSE).message(RTM_DELROUTE)


def add_proxy(index: int, address: str) -> Message:
    """Answer for `address` on an interface, ARP or NDP.

    IPv4 is answered where forwarding is on; IPv6 where `net.ipv6.conf.*.proxy_ndp` is. Added twice is no error."""
    return _proxy(index, address).message(RTM_NEWNEIGH, PUT)


def delete_proxy(index: int, address: str) -> Message:
    """Take back `add_proxy`. One that is not there is ENOENT."""
    return _proxy(index, address).message(RTM_DELNEIGH)


def _address(index: int, address: str, flags: int) -> Encoder:
    raw, prefix = split(address)
    encoder = Encoder(IFADDRMSG.pack(family(raw), prefix, flags, RT_SCOPE_UNIVERSE, index))
    encoder.put(IFA_LOCAL, raw)
    encoder.put(IFA_ADDRESS, raw)
    if len(raw) == 4 and (last := broadcast(raw, prefix)):
        encoder.put(IFA_BROADCAST, last)
    return encoder


def _route(route: Route, scope: int) -> Encoder:
    raw, prefix = split(route.to)
    flags = RTNH_F_ONLINK if route.is_onlink else 0
    table = route.table if route.table < 256 else RT_TABLE_COMPAT
    encoder = Encoder(RTMSG.pack(family(raw), prefix, 0, 0, table, route.protocol, scope, route.kind, flags))
    if prefix:
        encoder.put(RTA_DST, raw)
    if route.table >= 256:
        encoder.u32(RTA_TABLE, route.table)
    for kind, address in ((RTA_GATEWAY, route.via), (RTA_PREFSRC, route.source)):
        if address:
            encoder.put(kind, _of_family(packed(address), raw, route))
    if route.device:
        encoder.u32(RTA_OIF, route.device)
    if route.metric:
        encoder.u32(RTA_PRIORITY, route.metric)
    return encoder


def _of_family(raw: bytes, destination: bytes, route: Route) -> bytes:
    if len(raw) != len(destination):
        raise Invalid(f"the route to {route.to} names addresses of two families: {route.via or route.source}")
    return raw


def _scope(route: Route) -> int:
    """How far away the destination is, as ip-route(8) says it; only IPv4 knows."""
    if family(split(route.to)[0]) != AF_INET:
        return RT_SCOPE_UNIVERSE
    if route.kind == RTN_LOCAL:
        return RT_SCOPE_HOST
    return RT_SCOPE_LINK if route.kind == RTN_UNICAST and not route.via else RT_SCOPE_UNIVERSE


def _proxy(index: int, address: str) -> Encoder:
    raw = packed(address)
    encoder = Encoder(NDMSG.pack(family(raw), index, NUD_PERMANENT, NTF_PROXY, 0))
    encoder.put(NDA_DST, raw)
    return encoder
