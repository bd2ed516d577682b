"""What the kernel says becomes the values that went in."""

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from cloison.kernel.netlink import links, routes, values
from cloison.kernel.netlink.wire import Encoder

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)
_U32 = st.integers(0, 0xFFFFFFFF)
_MACS = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
_COUNTERS = st.builds(values.Counters, *[st.integers(0, (1 << 64) - 1)] * 8)
_INTERFACES = st.builds(
    values.Interface,
    index=st.integers(1, (1 << 31) - 1),
    name=_NAMES,
    altnames=st.lists(_NAMES, max_size=3).map(tuple),
    kind=st.sampled_from(["", "veth", "bridge", "macvlan"]),
    mac=_MACS,
    mtu=_U32,
    flags=_U32,
    operstate=st.sampled_from(["unknown", "down", "up", "dormant"]),
    master=_U32,
    parent=_U32,
    parent_nsid=st.none() | st.integers(-1, 1000),
    alias=_NAMES,
    is_isolated=st.booleans(),
    counters=st.none() | _COUNTERS,
)
_OPERSTATES = {"unknown": 0, "down": 2, "dormant": 5, "up": 6}


def as_the_kernel_says_it(it: values.Interface) -> bytes:
    encoder = Encoder(links.IFINFOMSG.pack(0, 1, it.index, it.flags, 0))
    encoder.text(links.IFLA_IFNAME, it.name)
    encoder.put(links.IFLA_ADDRESS, bytes.fromhex(it.mac.replace(":", "")))
    encoder.u32(links.IFLA_MTU, it.mtu)
    encoder.u8(links.IFLA_OPERSTATE, _OPERSTATES[it.operstate])
    encoder.u32(links.IFLA_MASTER, it.master)
    encoder.u32(links.IFLA_LINK, it.parent)
    encoder.text(links.IFLA_IFALIAS, it.alias)
    if it.parent_nsid is not None:
        encoder.put(links.IFLA_LINK_NETNSID, struct.pack("=i", it.parent_nsid))
    if it.counters:
        numbers = [getattr(it.counters, name) for name in values.Counters.__struct_fields__]
        encoder.put(links.IFLA_STATS64, struct.pack("=8Q", *numbers) + bytes(136))
    with encoder.nest(links.IFLA_PROP_LIST | 0x8000):
        for name in it.altnames:
            encoder.text(links.IFLA_ALT_IFNAME, name)
    with encoder.nest(links.IFLA_LINKINFO):
        if it.kind:
            encoder.text(links.IFLA_INFO_KIND, it.kind)
        encoder.text(links.IFLA_INFO_SLAVE_KIND, "bridge")
        with encoder.nest(links.IFLA_INFO_SLAVE_DATA):
            encoder.u8(links.IFLA_BRPORT_ISOLATED, it.is_isolated)
    return encoder.message(0).body


@given(_INTERFACES)
def test_an_interface_is_what_the_kernel_said(it: values.Interface) -> None:
    assert values.read_interface(as_the_kernel_says_it(it)) == it


def test_a_message_about_a_port_is_no_interface() -> None:
    assert values.read_interface(links.IFINFOMSG.pack(7, 1, 2, 0, 0)) is None


_V4, _V6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda address: str(address))


@st.composite
def some_routes(draw: st.DrawFn) -> routes.Route:
    addresses, bits = draw(st.sampled_from([(_V4, 32), (_V6, 128)]))
    prefix = draw(st.integers(1, bits))
    return routes.Route(
        to=f"{draw(addresses)}/{prefix}",
        device=draw(_U32),
        via=draw(st.just("") | addresses),
        is_onlink=draw(st.booleans()),
        metric=draw(_U32),
        source=draw(st.just("") | addresses),
        table=draw(st.integers(1, 0xFFFFFFFF).filter(lambda table: table != routes.RT_TABLE_COMPAT)),
        kind=draw(st.integers(1, 11)),
        protocol=draw(st.integers(0, 255)),
    )


def plain(text: str) -> object:
    return ipaddress.ip_interface(text) if text else None


@given(some_routes())
def test_a_route_survives_the_way_there_and_back(route: routes.Route) -> None:
    found = values.read_route(routes.add_route(route).body)
    assert found is not None
    for name in ("device", "is_onlink", "metric", "table", "kind", "protocol"):
        assert getattr(found, name) == getattr(route, name)
    for name in ("to", "via", "source"):
        assert plain(getattr(found, name)) == plain(getattr(route, name))


def test_a_default_route_is_to_everywhere() -> None:
    for everywhere in ("0.0.0.0/0", "::/0"):
        found = values.read_route(routes.add_route(routes.Route(to=everywhere, device=2)).body)
        assert found is not None and found.to == everywhere


@given(st.ip_addresses(), st.integers(1, 100), st.integers(0, 32))
def test_an_address_survives(address: ipaddress.IPv4Address | ipaddress.IPv6Address, index: int, prefix: int) -> None:
    found = values.read_address(routes.add_address(index, f"{address}/{prefix}").body)
    assert found is not None
    assert (found.index, ipaddress.ip_address(found.address), found.prefix) == (index, address, prefix)
    is_shared = address.version == 4 and prefix <= 30
    assert bool(found.broadcast) == is_shared


def test_a_proxied_neighbour_survives() -> None:
    found = values.read_neighbour(routes.add_proxy(3, "10.0.0.9").body)
    assert found == values.Neighbour(3, "10.0.0.9", "", routes.NUD_PERMANENT, is_proxy=True)
