"""What the makers of messages refuse, since the kernel would say no more than EINVAL."""

from collections.abc import Callable

import pytest

from cloison.base.errors import Bug, Invalid
from cloison.kernel import netlink
from cloison.kernel.netlink import Link, Route


@pytest.mark.parametrize("name", ["", "sixteen-bytes-xx", "é" * 8, ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0b"])
def test_a_name_that_the_kernel_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="no name for an interface"):
        Link(name=name)


@pytest.mark.parametrize(
    "mac", ["02:c1:05:00:00", "02:c1:05:00:00:0g", "02-c1-05-00-00-01", "02:c1:05:00:00:001", "+2:c1:05:00:00:01"]
)
def test_a_malformed_mac_is_refused(mac: str) -> None:
    with pytest.raises(Invalid, match="is not a MAC address"):
        Link(name="eth0", mac=mac)


@pytest.mark.parametrize("mac", ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])
def test_the_mac_of_a_group_or_of_nobody_is_refused(mac: str) -> None:
    with pytest.raises(Invalid, match="of one interface"):
        Link(name="eth0", mac=mac)


@pytest.mark.parametrize("vid", [-1, 0, 4095, 70000])
def test_a_vlan_number_that_cannot_be_is_refused(vid: int) -> None:
    with pytest.raises(Invalid, match="from 1 to 4094"):
        netlink.add_vlan(Link(name="v", parent=2), vid)
    with pytest.raises(Invalid, match="from 1 to 4094"):
        netlink.add_port_vlan(2, vid)


@pytest.mark.parametrize(
    "make",
    [
        lambda: netlink.set_link("eth0", name="eth1"),  # the kernel would do nothing, and say that it did
        lambda: netlink.set_link(0, is_up=True),
        lambda: netlink.delete_link(-1),
        lambda: netlink.add_macvlan(Link(name="m"), netlink.MacvlanMode.BRIDGE),
        lambda: netlink.add_veth(Link(name="a"), Link(name="b", master=3)),  # likewise
        lambda: netlink.add_veth(Link(name="a"), Link(name="b", is_up=True)),
        lambda: netlink.batch(*[netlink.delete_link("a")] * 129),
    ],
)
def test_what_would_be_misunderstood_is_a_mistake_of_the_caller(make: Callable[[], object]) -> None:
    with pytest.raises(Bug):
        make()


def test_names_have_their_limits() -> None:
    assert b"a" * 127 in netlink.delete_link("a" * 127).body
    with pytest.raises(Invalid, match="at most 127 bytes"):
        netlink.delete_link("a" * 128)
    with pytest.raises(Invalid, match="at most 255 bytes"):
        netlink.set_link(2, alias="a" * 256)


def test_a_route_has_one_family() -> None:
    with pytest.raises(Invalid, match="two families"):
        netlink.add_route(Route(to="0.0.0.0/0", via="fe80::1", device=2))


@pytest.mark.parametrize("values", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1 << 32, 1), (-1, 1, 1)])
def test_a_rate_that_cannot_be_is_refused(values: tuple[int, int, int]) -> None:
    rate, burst, latency = values
    with pytest.raises(Invalid, match="positive"):
        netlink.add_tbf(2, rate_bytes_per_s=rate, burst_bytes=burst, latency_us=latency)
