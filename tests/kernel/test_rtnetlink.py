"""Every message on the real kernel, in namespaces of the test, with iproute2 as the witness."""

import contextlib
import errno
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from cloison.kernel import netlink, rtnetlink
from cloison.kernel.netlink import IpvlanMode, Link, MacvlanMode, Message, Route, links, routes, wire
from cloison.kernel.rtnetlink import Refused
from tests.kernel.namespaces import Namespace, new_namespace

pytestmark = [pytest.mark.needs_root]
MAC = "02:c1:05:00:00:01"
HIGH = 1_000_000_007  # an index that no kernel would choose by itself


@pytest.fixture
def inside() -> Iterator[Namespace]:
    with new_namespace() as namespace:
        yield namespace


@pytest.fixture
def host() -> Iterator[Namespace]:
    """What stands for the host."""
    with new_namespace() as namespace:
        yield namespace


@pytest.fixture
def bridge(host: Namespace) -> int:
    send(host, netlink.add_bridge(Link(name="br0", index=HIGH, is_up=True)))
    return HIGH


@pytest.fixture
def port(host: Namespace, bridge: int) -> int:
    """A port of the bridge, `p0`; its other end is `p1`."""
    send(
        host,
        netlink.add_veth(Link(name="p0", index=5, master=bridge, is_up=True), Link(name="p1", index=6)),
        netlink.set_link(6, is_up=True),
    )
    return 5


def send(where: Namespace, *messages: Message, patch: Namespace | None = None) -> None:
    rtnetlink.request(netlink.batch(*messages), where.fd, patch_fd=patch.fd if patch else None)


def refusal(where: Namespace, *messages: Message) -> Refused:
    with pytest.raises(Refused) as refused:
        send(where, *messages)
    return refused.value


# --- make ------------------------------------------------------------------------------------------------------------


def test_a_bridge_has_what_it_was_given(host: Namespace) -> None:
    send(host, netlink.add_bridge(Link(name="br0", index=HIGH, mac=MAC, mtu=1400, is_up=True)))
    seen = host.link("br0")
    assert (seen["ifindex"], seen["address"], seen["mtu"], "UP" in seen["flags"]) == (HIGH, MAC, 1400, True)
    assert seen["linkinfo"]["info_kind"] == "bridge"


def test_a_veth_is_made_inside_and_its_peer_on_the_host(inside: Namespace, host: Namespace) -> None:
    peer = Link(name="v0123n0", index=HIGH, netns=netlink.NETNS_LATER, mtu=1400)
    send(inside, netlink.add_veth(Link(name="eth0", index=2, mac=MAC, mtu=1400), peer), patch=host)
    seen, end = inside.link("eth0"), host.link("v0123n0")
    assert (seen["ifindex"], seen["address"], seen["mtu"], "UP" in seen["flags"]) == (2, MAC, 1400, False)
    assert (end["ifindex"], end["mtu"], "UP" in end["flags"], end["link_index"]) == (HIGH, 1400, False, 2)
    assert inside.names() == {"lo", "eth0"}
    assert host.names() == {"lo", "v0123n0"}


def test_both_ends_of_a_veth_have_as_many_queues_as_they_are_to_have(inside: Namespace, host: Namespace) -> None:
    peer = Link(name="eth0", netns=netlink.NETNS_LATER, queues=1)
    send(host, netlink.add_veth(Link(name="v0", queues=3), peer), patch=inside)
    for namespace, name, count in ((host, "v0", 3), (inside, "eth0", 1)):
        seen = namespace.json("ip", "-json", "-details", "link", "show", name)[0]
        assert (seen["num_tx_queues"], seen["num_rx_queues"]) == (count, count)


def test_a_link_can_be_born_on_a_bridge(host: Namespace, bridge: int, port: int) -> None:
    assert host.link("p0")["master"] == "br0"


def test_an_interface_can_be_born_elsewhere(inside: Namespace, host: Namespace) -> None:
    send(inside, netlink.add_ifb(Link(name="ifb7", netns=host.fd)))
    assert host.link("ifb7")["linkinfo"]["info_kind"] == "ifb"
    assert inside.names() == {"lo"}


@pytest.mark.parametrize("mode", MacvlanMode)
def test_a_macvlan_has_its_mode(host: Namespace, mode: MacvlanMode) -> None:
    send(host, netlink.add_ifb(Link(name="up0", index=7)), netlink.add_macvlan(Link(name="m0", parent=7), mode))
    seen = host.link("m0")
    assert (seen["link"], seen["linkinfo"]["info_data"]["mode"]) == ("up0", mode.name.lower())


def test_a_macvlan_is_made_inside_on_an_interface_of_the_host(inside: Namespace, host: Namespace) -> None:
    # The host's interface has the very name that the new one gets.
    send(host, netlink.add_ifb(Link(name="eth0", index=2)))
    link = Link(name="v01234567n0", index=HIGH, parent=2, mac=MAC, netns=netlink.NETNS_LATER)
    send(host, netlink.add_macvlan(link, MacvlanMode.BRIDGE), patch=inside)
    send(inside, netlink.set_link(HIGH, name="eth0"), netlink.set_link(HIGH, is_up=True))
    seen = inside.link("eth0")
    assert (seen["ifindex"], seen["address"], seen["link_index"]) == (HIGH, MAC, 2)
    assert seen["linkinfo"]["info_kind"] == "macvlan" and "UP" in seen["flags"]
    assert host.names() == {"lo", "eth0"}


def test_a_macvlan_is_made_outside_and_moves_with_one_batch(inside: Namespace, host: Namespace) -> None:
    send(host, netlink.add_ifb(Link(name="eth0", index=2)))
    send(
        host,
        netlink.add_macvlan(Link(name="v01234567n0", index=HIGH, parent=2, mac=MAC), MacvlanMode.BRIDGE),
        netlink.set_link(HIGH, netns=netlink.NETNS_LATER, name="eth0", new_index=2, is_up=True),
        patch=inside,
    )
    seen = inside.link("eth0")
    assert (seen["ifindex"], seen["address"], seen["link_index"], "UP" in seen["flags"]) == (2, MAC, 2, True)
    assert host.names() == {"lo", "eth0"}


@pytest.mark.needs_ipvlan
@pytest.mark.parametrize("mode", IpvlanMode)
def test_an_ipvlan_has_its_mode(host: Namespace, mode: IpvlanMode) -> None:
    send(
        host,
        netlink.add_veth(Link(name="up0", index=7), Link(name="up1")),
        netlink.add_ipvlan(Link(name="i0", parent=7), mode),
    )
    seen = host.link("i0")
    assert (seen["link"], seen["linkinfo"]["info_data"]["mode"]) == ("up0", mode.name.lower())


@pytest.mark.needs_vlan
@pytest.mark.parametrize(("protocol", "shown"), [(0x8100, "802.1Q"), (0x88A8, "802.1ad")])
def test_a_vlan_has_its_number(host: Namespace, protocol: int, shown: str) -> None:
    send(
        host,
        netlink.add_veth(Link(name="up0", index=7), Link(name="up1")),
        netlink.add_vlan(Link(name="up0.42", parent=7), 42, protocol=protocol),
    )
    seen = host.link("up0.42")
    assert (seen["link"], seen["linkinfo"]["info_data"]["id"]) == ("up0", 42)
    assert seen["linkinfo"]["info_data"]["protocol"] == shown


def test_an_index_that_is_taken_is_refused(host: Namespace, bridge: int) -> None:
    for message in (netlink.add_ifb(Link(name="new", index=bridge)), netlink.add_ifb(Link(name="br0"))):
        assert refusal(host, message).errno == errno.EEXIST
    assert host.link("br0")["linkinfo"]["info_kind"] == "bridge"


# --- change ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["p1", 6])
def test_an_interface_is_changed(host: Namespace, port: int, bridge: int, which: int | str) -> None:
    send(host, netlink.set_link(which, is_up=False, mac=MAC, mtu=1300, master=bridge, alias="of web"))
    seen = host.link("p1")
    assert (seen["address"], seen["mtu"], seen["master"], seen["ifalias"]) == (MAC, 1300, "br0", "of web")
    assert "UP" not in seen["flags"]
    send(host, netlink.set_link(which, is_up=True, master=0, alias=""))
    seen = host.link("p1")
    assert "UP" in seen["flags"] and "master" not in seen and "ifalias" not in seen
    assert (seen["address"], seen["mtu"]) == (MAC, 1300)


def test_an_interface_gets_a_new_name(host: Namespace, port: int) -> None:
    send(host, netlink.set_link(6, is_up=False), netlink.set_link(6, name="renamed"))
    assert host.link("renamed")["ifindex"] == 6


def test_an_interface_moves_with_a_new_name_and_index(inside: Namespace, host: Namespace, port: int) -> None:
    moved = netlink.set_link(6, netns=netlink.NETNS_LATER, name="eth0", new_index=2, is_up=True, mtu=1280)
    send(host, netlink.add_altname(6, "cl-01234567-0"), moved, patch=inside)
    seen = inside.link("eth0")
    assert (seen["ifindex"], seen["mtu"], seen["altnames"], "UP" in seen["flags"]) == (2, 1280, ["cl-01234567-0"], True)
    assert "p1" not in host.names()


@pytest.mark.parametrize("altname", ["cl-01234567-0", "a-name-of-more-than-fifteen-bytes"])
def test_an_alternative_name_is_as_good_as_any(inside: Namespace, host: Namespace, port: int, altname: str) -> None:
    send(host, netlink.add_altname("p1", altname))
    assert host.link("p1")["altnames"] == [altname]
    send(host, netlink.set_link(altname, mtu=1250))
    assert host.link("p1")["mtu"] == 1250
    with rtnetlink.connect(host.fd) as connection:
        found = connection.link(altname)
    assert found and (found.name, found.altnames) == ("p1", (altname,))
    send(host, netlink.delete_altname(altname, altname))
    assert "altnames" not in host.link("p1")
    assert refusal(host, netlink.delete_link(altname)).errno == errno.ENODEV
    assert "p1" in host.names()


def test_an_interface_moves_by_its_alternative_name(inside: Namespace, host: Namespace, port: int) -> None:
    send(host, netlink.add_altname("p1", "cl-01234567-0"))
    send(host, netlink.set_link("cl-01234567-0", netns=netlink.NETNS_LATER), patch=inside)
    assert inside.link("p1")["altnames"] == ["cl-01234567-0"]


@pytest.mark.parametrize("which", ["p0", 5])
def test_a_port_is_isolated_and_has_a_hairpin(host: Namespace, port: int, which: int | str) -> None:
    for value in (True, False):
        send(host, netlink.set_port(which, is_isolated=value, is_hairpin=value))
        seen = host.json("bridge", "-json", "-details", "link", "show", "dev", "p0")[0]
        assert (seen["isolated"], seen["hairpin"]) == (value, value)


def test_what_is_no_port_cannot_be_isolated(host: Namespace, port: int) -> None:
    assert refusal(host, netlink.set_port("p1", is_isolated=True)).errno == errno.EOPNOTSUPP


@pytest.mark.needs_bridge_vlan
def test_a_port_has_vlans(host: Namespace) -> None:
    send(
        host,
        netlink.add_bridge(Link(name="br0", index=HIGH), is_vlan_filtering=True, default_pvid=0),
        netlink.add_veth(Link(name="p0", index=5, master=HIGH), Link(name="p1", index=6)),
        netlink.add_port_vlan(5, 42, is_pvid=True, is_untagged=True),
        netlink.add_port_vlan(5, 43),
        netlink.add_port_vlan(HIGH, 42, is_bridge=True),
    )
    assert host.link("br0")["linkinfo"]["info_data"]["vlan_filtering"] == 1
    seen = {each["ifname"]: each["vlans"] for each in host.json("bridge", "-json", "vlan", "show")}
    assert seen["p0"] == [{"vlan": 42, "flags": ["PVID", "Egress Untagged"]}, {"vlan": 43}]
    assert seen["br0"] == [{"vlan": 42}]
    send(host, netlink.delete_port_vlan(5, 43), netlink.delete_port_vlan(HIGH, 42, is_bridge=True))
    seen = {each["ifname"]: each["vlans"] for each in host.json("bridge", "-json", "vlan", "show")}
    assert [each["vlan"] for each in seen["p0"]] == [42] and "br0" not in seen


@pytest.mark.parametrize("which", ["p1", 6])
def test_deleting_one_end_deletes_both(host: Namespace, port: int, which: int | str) -> None:
    send(host, netlink.delete_link(which))
    assert host.names() == {"lo", "br0"}
    assert refusal(host, netlink.delete_link(which)).errno == errno.ENODEV


# --- addresses, routes, neighbours, rates ----------------------------------------------------------------------------


def test_addresses_come_and_go(host: Namespace, port: int) -> None:
    given = [netlink.add_address(6, "10.9.0.2/24"), netlink.add_address(6, "fd00:9::2/64", is_nodad=True)]
    send(host, *given)
    seen = {each["local"]: each for each in host.json("ip", "-json", "addr", "show", "dev", "p1")[0]["addr_info"]}
    assert (seen["10.9.0.2"]["prefixlen"], seen["10.9.0.2"]["broadcast"]) == (24, "10.9.0.255")
    assert (seen["fd00:9::2"]["prefixlen"], seen["fd00:9::2"]["nodad"]) == (64, True)
    assert "tentative" not in seen["fd00:9::2"]
    assert refusal(host, *given).errno == errno.EEXIST
    send(host, netlink.add_address(6, "10.9.0.2/24", is_replacing=True))
    send(host, netlink.delete_address(6, "10.9.0.2/24"), netlink.delete_address(6, "fd00:9::2/64"))
    left = host.json("ip", "-json", "addr", "show", "dev", "p1", "scope", "global")
    assert [each for each in left if each.get("addr_info")] == []
    assert refusal(host, netlink.delete_address(6, "10.9.0.2/24")).errno == errno.EADDRNOTAVAIL


def test_a_subnet_of_two_has_no_broadcast_address(host: Namespace, port: int) -> None:
    send(host, netlink.add_address(6, "10.9.0.2/31"))
    (seen,) = host.json("ip", "-json", "-4", "addr", "show", "dev", "p1")[0]["addr_info"]
    assert "broadcast" not in seen


ROUTES = [
    (Route(to="10.50.0.0/16", device=6), {"dst": "10.50.0.0/16", "dev": "p1", "scope": "link"}),
    (Route(to="0.0.0.0/0", via="10.9.0.1"), {"dst": "default", "gateway": "10.9.0.1", "dev": "p1"}),
    (
        Route(to="0.0.0.0/0", via="169.254.1.1", device=6, is_onlink=True, metric=77),
        {"dst": "default", "gateway": "169.254.1.1", "dev": "p1", "metric": 77, "flags": ["onlink"]},
    ),
    (Route(to="10.51.0.9/32", device=6, source="10.9.0.2"), {"dst": "10.51.0.9", "prefsrc": "10.9.0.2"}),
    (Route(to="10.52.0.0/16", kind=routes.RTN_UNREACHABLE), {"type": "unreachable", "dst": "10.52.0.0/16"}),
    (Route(to="fd50::/64", device=6, metric=9), {"dst": "fd50::/64", "dev": "p1", "metric": 9}),
    (Route(to="::/0", via="fd00:9::1"), {"dst": "default", "gateway": "fd00:9::1", "dev": "p1"}),
    (
        Route(to="::/0", via="fe80::1", device=6, is_onlink=True),
        {"dst": "default", "gateway": "fe80::1", "flags": ["onlink"]},
    ),
]


@pytest.mark.parametrize(("route", "expected"), ROUTES, ids=[f"{each.to} {each.via}" for each, _ in ROUTES])
def test_routes_come_and_go(host: Namespace, port: int, route: Route, expected: dict[str, object]) -> None:
    send(host, netlink.add_address(6, "10.9.0.2/24"), netlink.add_address(6, "fd00:9::2/64", is_nodad=True))
    family = "-6" if ":" in route.to else "-4"
    send(host, netlink.add_route(route))
    seen = [
        each
        for each in host.json("ip", "-json", family, "route", "show")
        if all(each.get(name) == value for name, value in expected.items())
    ]
    assert len(seen) == 1
    assert refusal(host, netlink.add_route(route)).errno == errno.EEXIST
    send(host, netlink.add_route(route, is_replacing=True))
    send(host, netlink.delete_route(route))
    assert seen[0] not in host.json("ip", "-json", family, "route", "show")
    assert refusal(host, netlink.delete_route(route)).errno == errno.ESRCH


def test_a_route_comes_beside_that_of_a_router(host: Namespace, port: int) -> None:
    """One that a router advertisement has made, in the moment before."""
    route = Route(to="::/0", via="fd00:9::1", device=6)
    send(host, netlink.add_address(6, "fd00:9::2/64", is_nodad=True))
    host.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "p1", "proto", "ra")
    assert refusal(host, netlink.add_route(route)).errno == errno.EEXIST
    send(host, netlink.add_route(route, is_beside=True))
    shown = host.run("ip", "-6", "route", "show", "default")
    assert "via fe80::1 " in shown and "via fd00:9::1 " in shown
    assert refusal(host, netlink.add_route(route, is_beside=True)).errno == errno.EEXIST  # the same once more


def test_a_route_in_a_table_of_its_own(host: Namespace, port: int) -> None:
    route = Route(to="10.53.0.0/16", device=6, table=4711, protocol=routes.RTPROT_BOOT)
    send(host, netlink.add_route(route))
    assert host.json("ip", "-json", "route", "show", "table", "4711")[0]["dst"] == "10.53.0.0/16"
    with rtnetlink.connect(host.fd) as connection:
        assert connection.routes(table=4711) == [route]
        assert connection.routes(table=4712) == []
    send(host, netlink.delete_route(route))
    assert host.run("ip", "route", "show", "table", "all").count("10.53.0.0") == 0


@pytest.mark.parametrize("address", ["10.9.0.7", "fd00:9::7"])
def test_a_proxy_comes_and_goes(host: Namespace, port: int, address: str) -> None:
    send(host, netlink.add_proxy(6, address), netlink.add_proxy(6, address))
    family = "-6" if ":" in address else "-4"
    assert host.json("ip", "-json", family, "neigh", "show", "proxy")[0]["dst"] == address
    with rtnetlink.connect(host.fd) as connection:
        assert [each.address for each in connection.neighbours(is_proxy=True, index=6)] == [address]
        assert connection.neighbours(is_proxy=True, index=5) == []
    send(host, netlink.delete_proxy(6, address))
    assert host.json("ip", "-json", family, "neigh", "show", "proxy") == []
    assert refusal(host, netlink.delete_proxy(6, address)).errno == errno.ENOENT


@pytest.mark.parametrize("rate", [12_500, 10_000_000, 5_000_000_000])
def test_a_rate_is_as_tc_would_set_it(host: Namespace, port: int, rate: int) -> None:
    burst, latency_us = max(rate // 250, 65536), 50_000
    words = ["rate", f"{rate * 8}bit", "burst", str(burst), "latency", f"{latency_us}us"]
    host.run("tc", "qdisc", "add", "dev", "p1", "root", "tbf", *words)
    send(host, netlink.add_tbf(5, rate_bytes_per_s=rate, burst_bytes=burst, latency_us=latency_us))
    ours, theirs = (host.json("tc", "-json", "qdisc", "show", "dev", name)[0] for name in ("p0", "p1"))
    assert ours["options"]["rate"] == theirs["options"]["rate"] == rate
    for name in ("burst", "lat"):
        assert ours["options"][name] == pytest.approx(theirs["options"][name], rel=0.02)
    again = netlink.add_tbf(5, rate_bytes_per_s=rate // 2, burst_bytes=burst, latency_us=latency_us, is_replacing=True)
    send(host, again)
    assert host.json("tc", "-json", "qdisc", "show", "dev", "p0")[0]["options"]["rate"] == rate // 2
    send(host, netlink.delete_qdisc(5))
    assert host.json("tc", "-json", "qdisc", "show", "dev", "p0")[0]["kind"] != "tbf"
    assert refusal(host, netlink.delete_qdisc(5)).errno == errno.ENOENT


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_start_is_one_batch_inside_and_one_on_the_host(inside: Namespace, host: Namespace, bridge: int) -> None:
    peer = Link(name="v0123n0", index=HIGH + 1, netns=netlink.NETNS_LATER)
    send(
        inside,
        netlink.set_link("lo", is_up=True),
        netlink.add_veth(Link(name="eth0", index=2, mac=MAC), peer),
        netlink.add_address(2, "10.9.0.2/24"),
        netlink.add_address(2, "fd00:9::2/64", is_nodad=True),
        netlink.set_link(2, is_up=True),
        netlink.add_route(Route(to="0.0.0.0/0", via="10.9.0.1", device=2)),
        netlink.add_route(Route(to="::/0", via="fd00:9::1", device=2)),
        patch=host,
    )
    send(
        host,
        netlink.add_address(bridge, "10.9.0.1/24"),
        netlink.set_link("v0123n0", master=bridge, is_up=True),
        netlink.set_port("v0123n0", is_isolated=True),
    )
    assert " 0% packet loss" in inside.run("busybox", "ping", "-c", "1", "-W", "5", "10.9.0.1")
    send(host, netlink.delete_link("v0123n0"))
    assert inside.names() == {"lo"}


def test_a_refusal_says_which_message_and_the_others_are_carried_out(host: Namespace) -> None:
    made = [netlink.add_ifb(Link(name=name)) for name in ("a", "b")]
    refused = refusal(host, made[0], netlink.delete_link("absent"), netlink.set_link("a", mtu=7), made[1])
    assert (refused.errno, refused.index) == (errno.ENODEV, 1)
    assert host.names() == {"lo", "a", "b"}


def test_the_words_of_the_kernel_are_kept(host: Namespace, port: int) -> None:
    refused = refusal(host, netlink.add_route(Route(to="0.0.0.0/0", via="10.9.0.1", device=6)))
    assert refused.errno == errno.ENETUNREACH
    assert refused.said == str(refused.args[1]) == "Nexthop has invalid gateway"


def test_the_largest_batch_is_answered_in_full(host: Namespace, port: int) -> None:
    routes_of_it = [Route(to=f"10.60.{number}.0/24", device=6) for number in range(wire.MOST_MESSAGES)]
    send(host, *[netlink.add_route(route) for route in routes_of_it])
    # Also where every answer has words of the kernel in it.
    wrong = Route(to="0.0.0.0/0", via="10.77.0.1", device=6)
    refused = refusal(host, *[netlink.add_route(wrong)] * wire.MOST_MESSAGES)
    assert (refused.errno, refused.index, bool(refused.said)) == (errno.ENETUNREACH, 0, True)
    send(host, *[netlink.delete_route(route) for route in routes_of_it])
    assert host.json("ip", "-json", "route", "show") == []


def test_a_descriptor_that_was_never_patched_in_is_refused(inside: Namespace) -> None:
    link = netlink.add_veth(Link(name="eth0"), Link(name="v0", netns=netlink.NETNS_LATER))
    assert refusal(inside, link).errno in (errno.EBADF, errno.EINVAL)
    assert inside.names() == {"lo"}


def test_the_caller_stays_in_its_namespace(host: Namespace) -> None:
    def where() -> set[str]:
        """The namespaces of all threads; one that has ended is still seen for a moment, in none."""
        found = set()
        for task in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/self/task/{task}/ns/net"))
        return found

    def are_at_home() -> bool:
        deadline = time.monotonic() + 10
        while where() != {own} and time.monotonic() < deadline:
            time.sleep(0.001)
        return where() == {own}

    own = os.readlink("/proc/thread-self/ns/net")
    with rtnetlink.connect(host.fd) as connection:
        assert [each.name for each in connection.links()] == ["lo"]
        assert os.readlink("/proc/thread-self/ns/net") == own
        assert are_at_home()


def test_what_is_no_namespace_cannot_be_entered(tmp_path: os.PathLike[str]) -> None:
    with open("/dev/null") as null, pytest.raises(OSError) as refused:
        rtnetlink.request(netlink.batch(), null.fileno())
    assert refused.value.errno == errno.EINVAL


# --- lists -----------------------------------------------------------------------------------------------------------


def test_interfaces_are_listed_as_ip_lists_them(inside: Namespace, host: Namespace, port: int, bridge: int) -> None:
    send(
        host,
        netlink.add_veth(Link(name="v0", index=9, master=bridge), Link(name="eth0", netns=inside.fd, mac=MAC)),
        netlink.set_link("v0", alias="of web", is_up=True),
        netlink.add_altname("v0", "one"),
        netlink.add_altname("v0", "two"),
        netlink.set_port("v0", is_isolated=True),
    )
    with rtnetlink.connect(host.fd) as connection:
        found = {each.name: each for each in connection.links()}
        on_bridge = {each.name for each in connection.links(master=bridge)}
        bridges = {each.name for each in connection.links(kind="bridge")}
        assert connection.links(kind="no-such-kind") == []
        shown = host.json("ip", "-json", "-details", "-stats", "link", "show")
        later = {each.name: each for each in connection.links()}
    for seen in shown:
        ours = found.pop(seen["ifname"])
        info = seen.get("linkinfo", {})
        assert (ours.index, ours.mtu, ours.mac) == (seen["ifindex"], seen["mtu"], seen["address"])
        assert ours.operstate == seen["operstate"].lower()
        assert ours.kind == info.get("info_kind", "")
        assert list(ours.altnames) == seen.get("altnames", [])
        assert ours.alias == seen.get("ifalias", "")
        assert ours.is_up == ("UP" in seen["flags"])
        assert ours.is_isolated == info.get("info_slave_data", {}).get("isolated", False)
        assert ours.master == (bridge if seen.get("master") else 0)
        assert ours.parent_nsid == seen.get("link_netnsid")
        after = later[ours.name].counters  # IPv6 says hello meanwhile
        assert ours.counters and after
        assert ours.counters.rx_bytes <= seen["stats64"]["rx"]["bytes"] <= after.rx_bytes
    assert found == {}
    assert (on_bridge, bridges) == ({"p0", "v0"}, {"br0"})


def test_counters_count(host: Namespace) -> None:
    send(host, netlink.set_link("lo", is_up=True))
    host.run("busybox", "ping", "-c", "3", "127.0.0.1")
    with rtnetlink.connect(host.fd) as connection:
        found = connection.link("lo")
    assert found and found.counters
    assert (found.counters.rx_packets, found.counters.tx_packets) == (6, 6)
    assert found.counters.rx_bytes == found.counters.tx_bytes == 6 * 84
    assert (found.counters.rx_errors, found.counters.tx_dropped) == (0, 0)


def test_what_is_not_there_is_none_or_nothing(host: Namespace) -> None:
    with rtnetlink.connect(host.fd) as connection:
        assert connection.link("absent") is connection.link(99) is connection.link("absent-for-more-than-15") is None
        assert connection.addresses(index=99) == []
        assert connection.routes(device=99) == []
        assert connection.neighbours(index=99) == []
        assert connection.links(master=99) == []


def test_addresses_are_listed_as_ip_lists_them(host: Namespace, port: int) -> None:
    send(host, netlink.add_address(6, "10.9.0.2/24"), netlink.add_address(6, "fd00:9::2/64", is_nodad=True))
    send(host, netlink.add_address(5, "10.8.0.2/31"))
    with rtnetlink.connect(host.fd) as connection:
        found = connection.addresses()
        of_one = connection.addresses(index=6)
        of_family = connection.addresses(index=6, family=2)
    seen = {
        (each["ifindex"], info["local"], info["prefixlen"], info.get("broadcast", ""))
        for each in host.json("ip", "-json", "addr", "show")
        for info in each["addr_info"]
    }
    assert {(each.index, each.address, each.prefix, each.broadcast) for each in found} == seen
    assert {each.address for each in of_one} == {local for index, local, *_ in seen if index == 6}
    assert [each.address for each in of_family] == ["10.9.0.2"]


def test_routes_are_listed_as_they_were_added(host: Namespace, port: int) -> None:
    given = [
        Route(to="10.50.0.0/16", device=6),
        Route(to="0.0.0.0/0", via="169.254.1.1", device=6, is_onlink=True, metric=77),
        Route(to="fd50::/64", device=6, metric=9),
        Route(to="10.51.0.9/32", device=5, source="10.9.0.2"),
    ]
    send(host, netlink.add_address(6, "10.9.0.2/24"), *[netlink.add_route(route) for route in given])
    with rtnetlink.connect(host.fd) as connection:
        assert set(given) <= set(connection.routes())
        assert given[3] in connection.routes(device=5) and given[0] not in connection.routes(device=5)
        assert {each.to for each in connection.routes(family=2, device=6)} == {
            "10.50.0.0/16",
            "0.0.0.0/0",
            "10.9.0.0/24",
        }
        assert "10.9.0.2/32" in {each.to for each in connection.routes(table=255)}
        assert set(connection.routes()) | set(connection.routes(table=255)) == set(connection.routes(table=0))


def test_neighbours_are_listed_as_ip_lists_them(host: Namespace, port: int) -> None:
    host.run("ip", "neigh", "add", "10.9.0.7", "lladdr", MAC, "dev", "p1", "nud", "permanent")
    with rtnetlink.connect(host.fd) as connection:
        found = [each for each in connection.neighbours(index=6) if each.address == "10.9.0.7"]
        assert connection.neighbours(index=5, family=2) == []
    assert [(each.index, each.mac, each.state, each.is_proxy) for each in found] == [
        (6, MAC, routes.NUD_PERMANENT, False)
    ]


def test_a_list_is_whole_while_interfaces_come_and_go(host: Namespace) -> None:
    send(host, *[netlink.add_ifb(Link(name=f"i{number}")) for number in range(100)])
    is_over = threading.Event()

    def churn() -> None:
        while not is_over.is_set():
            send(host, netlink.add_ifb(Link(name="churn")), netlink.delete_link("churn"))

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        with rtnetlink.connect(host.fd) as connection:
            for _ in range(20):
                names = [each.name for each in connection.links()]
                assert len(set(names)) == len(names)
                assert {f"i{number}" for number in range(100)} <= set(names)
    finally:
        is_over.set()
        thread.join()


def test_addresses_of_this_host_are_those_of_ip() -> None:
    words = ["ip", "-json", "addr", "show"]
    seen = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert set(rtnetlink.addresses()) == {
        info["local"] for each in seen for info in each["addr_info"] if info["scope"] == "global"
    }


def test_a_patched_batch_is_what_the_kernel_gets(inside: Namespace, host: Namespace) -> None:
    waiting = netlink.batch(netlink.add_ifb(Link(name="i0", netns=netlink.NETNS_LATER)))
    assert waiting.data[waiting.netns_at - 4 : waiting.netns_at] == b"\x08\x00" + links.IFLA_NET_NS_FD.to_bytes(
        2, "little"
    )
    rtnetlink.request(waiting, inside.fd, patch_fd=host.fd)
    assert "i0" in host.names()
