"""Messages about interfaces. Pure: each function gives a value, nothing is sent here.

Where a message is sent matters. Older kernels (6.1) look up the name and the index of a new interface in the namespace
of the socket, even if it is made with `netns` in another one; `parent` always is an index in the socket's. So that
nobody mistakes an instance's eth0, with the index 2, for that of the host:

    veth             is made inside; the peer, with the host's namespace as its `netns`, is the host's end
    macvlan, ipvlan  are made from the host with `netns`, under a name and an index that nobody has, and renamed inside;
                     to make them here and move them takes the kernel 20 to 50 ms instead of 1

What is asked for by name may have that as an alternative name too. Some things work by index alone, because the kernel
looks for no name there: a new name, VLANs of a bridge port, and all of `routes` and `qdiscs`. Hence `Link.index`: a
plan chooses the index of what it makes.

Source: rtnetlink(7), ip-link(8), linux/if_link.h, net/core/rtnetlink.c.
"""

import struct
from enum import IntEnum

import msgspec

from cloison.base.errors import Bug, Invalid
from cloison.kernel.netlink.inet import AF_BRIDGE
from cloison.kernel.netlink.wire import NEW, NLA_F_NESTED, NLM_F_APPEND, Encoder, Message

IFINFOMSG = struct.Struct("=BxHiII")  # family, (pad), type of hardware, index, flags, mask of flags

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109
IFF_UP = 0x1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_OPERSTATE = 1, 3, 4, 5, 10, 16
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_STATS64, IFLA_AF_SPEC, IFLA_NET_NS_FD, IFLA_EXT_MASK = 18, 20, 23, 26, 28, 29
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_LINK_NETNSID, IFLA_NEW_IFINDEX, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 37, 49, 52, 53
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5

_IFLA_BR_VLAN_FILTERING, _IFLA_BR_VLAN_DEFAULT_PVID = 7, 39
_IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
_IFLA_BRIDGE_FLAGS, _IFLA_BRIDGE_VLAN_INFO = 0, 2
_BRIDGE_FLAGS_SELF, _VLAN_INFO_PVID, _VLAN_INFO_UNTAGGED = 2, 0x2, 0x4
_VLAN_INFO_RANGE_BEGIN, _VLAN_INFO_RANGE_END = 0x8, 0x10
_VETH_INFO_PEER = 1
_IFLA_MACVLAN_MODE = 1
_IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS = 1, 2
_IFLA_VLAN_ID, _IFLA_VLAN_PROTOCOL = 1, 5
_ETH_P_8021Q = 0x8100

NAME_BYTES = 15
ALTNAME_BYTES = 127
ALIAS_BYTES = 255
VID_MOST = 4094


class MacvlanMode(IntEnum):
    """Who among the macvlans of one parent hears whom."""

    PRIVATE = 1
    VEPA = 2  # through the switch outside, which sends it back
    BRIDGE = 4
    PASSTHRU = 8  # one macvlan has the parent for itself


class IpvlanMode(IntEnum):
    """On which layer the parent hands out packets."""

    L2 = 0
    L3 = 1
    L3S = 2  # as L3, but through the host's packet rules and connection tracking


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An interface to be made. What is 0, empty or None is left to the kernel.

    `index` is taken or refused (EBUSY, EEXIST), never replaced by another. `parent`, of a macvlan, ipvlan or vlan, is
    an index in the namespace of the socket. `netns` is the descriptor of the namespace to make it in, or NETNS_LATER.
    `master` is the index of a bridge there. `queues` is how many it has to send and as many to receive. Raises
    Invalid."""

    name: str
    index: int = 0
    mac: str = ""
    mtu: int = 0
    is_up: bool = False
    parent: int = 0
    master: int = 0
    netns: int | None = None
    queues: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.mac:
            packed_mac(self.mac)


def check_name(name: str) -> None:
    """What the kernel takes for an interface's name: 1 to 15 bytes. Raises Invalid."""
    has_bad_byte = any(letter in "/:" or letter.isspace() or letter == "\0" for letter in name)
    if not 1 <= len(name.encode()) <= NAME_BYTES or name in (".", "..") or has_bad_byte:
        raise Invalid(
            f"{name!r} is no name for an interface: 1 to {NAME_BYTES} bytes, no slash, colon or space", name=name
        )


def packed_mac(text: str) -> bytes:
    """The six bytes of `02:c1:05:00:00:01`. Raises Invalid, also for a group address (an odd first byte)."""
    parts = text.split(":")
    is_hex = all(len(part) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in part) for part in parts)
    if len(parts) != 6 or not is_hex:
        raise Invalid(f"{text!r} is not a MAC address, such as 02:c1:05:00:00:01", mac=text)
    raw = bytes(int(part, 16) for part in parts)
    if raw[0] & 1 or not any(raw):
        raise Invalid(f"{text!r} is not the MAC address of one interface: its first byte must be even", mac=text)
    return raw


# --- make ------------------------------------------------------------------------------------------------------------


def add_bridge(link: Link, *, is_vlan_filtering: bool = False, default_pvid: int | None = None) -> Message:
    """A bridge. With `is_vlan_filtering` its ports have VLANs; `default_pvid` is that of new ones, 0 for none."""
    encoder = _begin(link)
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_KIND, b"bridge")
        if is_vlan_filtering or default_pvid is not None:
            with encoder.nest(IFLA_INFO_DATA):
                encoder.u8(_IFLA_BR_VLAN_FILTERING, is_vlan_filtering)
                if default_pvid is not None:
                    encoder.u16(_IFLA_BR_VLAN_DEFAULT_PVID, _vid(default_pvid, least=0))
    return encoder.message(RTM_NEWLINK, NEW)


def add_veth(link: Link, peer: Link) -> Message:
    """A pair, of which the kernel deletes both when one is deleted.

    `peer` cannot be up (the kernel: ENOTCONN) nor have a master (it would be ignored): these take a `set_link`."""
    if link.parent or peer.parent or peer.master or peer.is_up:
        raise Bug("a veth has no parent, and its peer is set up and gets its master from set_link")
    encoder = _begin(link)
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_KIND, b"veth")
        with encoder.nest(IFLA_INFO_DATA), encoder.nest(_VETH_INFO_PEER):
            encoder.raw(_fixed_part(peer))
            _put_properties(encoder, peer)
    return encoder.message(RTM_NEWLINK, NEW)


def add_macvlan(link: Link, mode: MacvlanMode) -> Message:
    """A second MAC address on `link.parent`."""
    encoder = _begin(link, needs_parent=True)
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_KIND, b"macvlan")
        with encoder.nest(IFLA_INFO_DATA):
            encoder.u32(_IFLA_MACVLAN_MODE, mode)
    return encoder.message(RTM_NEWLINK, NEW)


def add_ipvlan(link: Link, mode: IpvlanMode) -> Message:
    """A second set of addresses on `link.parent`, whose MAC address it shares. All on one parent have one mode."""
    encoder = _begin(link, needs_parent=True)
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_KIND, b"ipvlan")
        with encoder.nest(IFLA_INFO_DATA):
            encoder.u16(_IFLA_IPVLAN_MODE, mode)
            encoder.u16(_IFLA_IPVLAN_FLAGS, 0)  # neither private nor VEPA
    return encoder.message(RTM_NEWLINK, NEW)


def add_vlan(link: Link, vid: int, *, protocol: int = _ETH_P_8021Q) -> Message:
    """The packets of `link.parent` that are tagged with `vid`, 1 to 4094. `protocol` 0x88a8 is 802.1ad."""
    encoder = _begin(link, needs_parent=True)
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_KIND, b"vlan")
        with encoder.nest(IFLA_INFO_DATA):
            if protocol != _ETH_P_8021Q:
                encoder.put(_IFLA_VLAN_PROTOCOL, protocol.to_bytes(2, "big"))
            encoder.u16(_IFLA_VLAN_ID, _vid(vid))
    return encoder.message(RTM_NEWLINK, NEW)


def add_ifb(link: Link) -> Message:
    """An interface that packets are led through, to be queued."""
    encoder = _begin(link)
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_KIND, b"ifb")
    return encoder.message(RTM_NEWLINK, NEW)


# --- change ----------------------------------------------------------------------------------------------------------


def set_link(
    which: int | str,
    *,
    is_up: bool | None = None,
    name: str = "",
    mac: str = "",
    mtu: int = 0,
    master: int | None = None,
    alias: str | None = None,
    netns: int | None = None,
    new_index: int = 0,
) -> Message:
    """Change an interface, given by index or (alternative) name; what is not given stays.

    `name` needs an index, and on older kernels an interface that is down. `master` 0 takes it off its bridge. With
    `netns` it moves first (it goes down, and loses its addresses), to `new_index` if that is free, since Linux 5.13;
    the rest is then done there. Raises Invalid."""
    if name and isinstance(which, str):
        raise Bug("an interface is given a new name by its index")
    encoder = Encoder(_ifinfomsg(which, is_up))
    put_which(encoder, which)
    if mtu:
        encoder.u32(IFLA_MTU, mtu)
    if mac:
        encoder.put(IFLA_ADDRESS, packed_mac(mac))
    if name:
        check_name(name)
        encoder.text(IFLA_IFNAME, name)
    if master is not None:
        encoder.u32(IFLA_MASTER, master)
    if alias is not None:
        encoder.put(IFLA_IFALIAS, _short(alias, ALIAS_BYTES, "alias"))
    if netns is not None:
        encoder.netns(IFLA_NET_NS_FD, netns)
    if new_index:
        encoder.u32(IFLA_NEW_IFINDEX, new_index)
    return encoder.message(RTM_SETLINK)


def set_port(which: int | str, *, is_isolated: bool | None = None, is_hairpin: bool | None = None) -> Message:
    """Change a port of a bridge: isolated ones do not hear one another; a hairpin sends back where it came from."""
    encoder = Encoder(_ifinfomsg(which))
    put_which(encoder, which)
    # RTM_NEWLINK without NLM_F_CREATE, because RTM_SETLINK of AF_BRIDGE knows no names.
    with encoder.nest(IFLA_LINKINFO):
        encoder.put(IFLA_INFO_SLAVE_KIND, b"bridge\0")
        with encoder.nest(IFLA_INFO_SLAVE_DATA):
            if is_hairpin is not None:
                encoder.u8(_IFLA_BRPORT_MODE, is_hairpin)
            if is_isolated is not None:
                encoder.u8(IFLA_BRPORT_ISOLATED, is_isolated)
    return encoder.message(RTM_NEWLINK)


def add_port_vlan(
    index: int, vid: int, *, is_pvid: bool = False, is_untagged: bool = False, is_bridge: bool = False
) -> Message:
    """Let a VLAN through a port, or with `is_bridge` to the bridge itself.

    `is_pvid`: what comes in without a tag belongs to it; `is_untagged`: it leaves without its tag."""
    flags = (_VLAN_INFO_PVID if is_pvid else 0) | (_VLAN_INFO_UNTAGGED if is_untagged else 0)
    return _port_vlan(RTM_SETLINK, index, flags, vid, is_bridge=is_bridge)


def delete_port_vlan(index: int, vid: int, *, last: int = 0, is_bridge: bool = False) -> Message:
    """Take back `add_port_vlan`; with `last` of all from `vid` to that one, whether they are there or not."""
    return _port_vlan(RTM_DELLINK, index, 0, vid, last=last, is_bridge=is_bridge)


def add_altname(which: int | str, name: str) -> Message:
    """Give an interface one more name, of up to 127 bytes; it is kept when it moves, since Linux 5.5."""
    return _altname(RTM_NEWLINKPROP, which, name, NEW | NLM_F_APPEND)


def delete_altname(which: int | str, name: str) -> Message:
    """Take an alternative name away; `which` may be that very name."""
    return _altname(RTM_DELLINKPROP, which, name, 0)


def delete_link(which: int | str) -> Message:
    """Delete an interface, given by index or (alternative) name. One that is not there is ENODEV."""
    encoder = Encoder(_ifinfomsg(which))
    put_which(encoder, which)
    return encoder.message(RTM_DELLINK)


# --- parts -----------------------------------------------------------------------------------------------------------


def _begin(link: Link, *, needs_parent: bool = False) -> Encoder:
    if needs_parent and not link.parent:
        raise Bug(f"interface {link.name!r} needs a parent")
    encoder = Encoder(_fixed_part(link))
    _put_properties(encoder, link)
    return encoder


def _fixed_part(link: Link) -> bytes:
    flags = IFF_UP if link.is_up else 0
    return IFINFOMSG.pack(0, 0, link.index, flags, flags)


def _put_properties(encoder: Encoder, link: Link) -> None:
    """In the order of iproute2, so that tests can compare bytes where the kernel cannot be asked."""
    if link.mtu:
        encoder.u32(IFLA_MTU, link.mtu)
    if link.mac:
        encoder.put(IFLA_ADDRESS, packed_mac(link.mac))
    if link.netns is not None:
        encoder.netns(IFLA_NET_NS_FD, link.netns)
    if link.parent:
        encoder.u32(IFLA_LINK, link.parent)
    encoder.text(IFLA_IFNAME, link.name)
    if link.master:
        encoder.u32(IFLA_MASTER, link.master)
    if link.queues:
        encoder.u32(IFLA_NUM_TX_QUEUES, link.queues)
        encoder.u32(IFLA_NUM_RX_QUEUES, link.queues)


def _ifinfomsg(which: int | str, is_up: bool | None = None, family: int = 0) -> bytes:  # noqa: FBT001
    index = which if isinstance(which, int) else 0
    return IFINFOMSG.pack(family, 0, index, IFF_UP if is_up else 0, 0 if is_up is None else IFF_UP)


def put_which(encoder: Encoder, which: int | str) -> None:
    """Say which interface is meant; an index is in the fixed part already. Raises Invalid.

    Up to 15 bytes may be any name of it; what is longer can only be an alternative one."""
    if isinstance(which, int):
        if which <= 0:
            raise Bug(f"{which} is not the index of an interface")
    elif len(which.encode()) <= NAME_BYTES:
        check_name(which)
        encoder.text(IFLA_IFNAME, which)
    else:
        encoder.put(IFLA_ALT_IFNAME, _short(which, ALTNAME_BYTES, "alternative name") + b"\0")


def _altname(type_: int, which: int | str, name: str, flags: int) -> Message:
    encoder = Encoder(_ifinfomsg(which))
    put_which(encoder, which)
    with encoder.nest(IFLA_PROP_LIST | NLA_F_NESTED):
        encoder.put(IFLA_ALT_IFNAME, _short(name, ALTNAME_BYTES, "alternative name") + b"\0")
    return encoder.message(type_, flags)


def _port_vlan(type_: int, index: int, flags: int, vid: int, *, last: int = 0, is_bridge: bool) -> Message:
    encoder = Encoder(_ifinfomsg(index, family=AF_BRIDGE))
    put_which(encoder, index)
    with encoder.nest(IFLA_AF_SPEC):
        if is_bridge:
            encoder.u16(_IFLA_BRIDGE_FLAGS, _BRIDGE_FLAGS_SELF)
        begins, ends = (_VLAN_INFO_RANGE_BEGIN, _VLAN_INFO_RANGE_END) if last else (0, 0)
        encoder.put(_IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags | begins, _vid(vid)))
        if last:
            encoder.put(_IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags | ends, _vid(last)))
    return encoder.message(type_)


def _short(text: str, most: int, what: str) -> bytes:
    raw = text.encode()
    if len(raw) > most or b"\0" in raw:
        raise Invalid(f"an interface's {what} has at most {most} bytes, {text[:20]!r}... has {len(raw)}")
    return raw


def _vid(vid: int, least: int = 1) -> int:
    if not least <= vid <= VID_MOST:
        raise Invalid(f"a VLAN has a number from {least} to {VID_MOST}, not {vid}", vlan=vid)
    return vid
