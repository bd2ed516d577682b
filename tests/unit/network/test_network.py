"""A network's own names and addresses."""

import pytest

from cloison.network import dnsmasq, network
from cloison.network.network import Network


def net(**changes: object) -> Network:
    given = {"name": "lab", "bridge": "lab", "run": "/r/lab", "data": "/d/lab", "ipv4": "10.1.2.1/24"}
    return Network(**given | {"ipv6": "fd00:1::1/64"} | changes)  # type: ignore[arg-type]


def test_what_is_made_for_a_network_is_the_same_at_every_time_and_differs_between_installations() -> None:
    one, other = net(), net(table=network.table_of("/srv/other"))
    assert (network.index_of(one), network.mac_of(one)) == (network.index_of(net()), network.mac_of(net()))
    assert network.index_of(one) != network.index_of(other) and network.mac_of(one) != network.mac_of(other)
    assert network.index_of(one) >= network.INDEX_BASE and network.mac_of(one).startswith("02:c1:05:")
    assert (network.table_of(""), len(other.table)) == ("cloison", len("cloison_12345678"))


def test_subnets_are_without_the_host_part() -> None:
    assert net(ipv4="10.1.2.77/20").subnets == ("10.1.0.0/20", "fd00:1::/64")


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3/32", "10.1.2.0/24", True),
        ("10.1.2.0/24", "10.1.3.0/24", False),
        ("fd00::/8", "fd12::1/64", True),
        ("::/0", "10.0.0.1", False),
    ],
)
def test_overlap(one: str, other: str, do: bool) -> None:  # noqa: FBT001
    assert network.overlap(one, other) is network.overlap(other, one) is do


def test_dnsmasq_leases_to_those_it_knows_and_serves_them_alone() -> None:
    text = dnsmasq.configuration(net(mtu=1400), "dnsmasq")
    for line in ("interface=lab", "dhcp-ignore=tag:!known", "dhcp-range=10.1.2.0,static,255.255.255.0,1h", "enable-ra"):
        assert line in text.splitlines()
    assert "ra-param=lab,mtu:1400,60,1800" in text and "dhcp-option=option:mtu,1400" in text


def test_an_internal_network_names_no_way_out() -> None:
    lines = dnsmasq.configuration(net(is_internal=True), "nobody").splitlines()
    assert "dhcp-option=option:router" in lines and "no-resolv" in lines and "ra-param=lab,60,0" in lines


def test_dnsmasq_without_dns_or_without_dhcp() -> None:
    assert "port=0" in dnsmasq.configuration(net(is_dns=False), "nobody").splitlines()
    assert "dhcp" not in dnsmasq.configuration(net(is_dhcp=False), "nobody").replace("quiet-dhcp", "")


def test_the_files_of_one_interface() -> None:
    mine = dnsmasq.Reservation("abc.0", "web", "02:c1:05:00:00:0a", ("10.1.2.3/24", "fd00:1::3"))
    assert dnsmasq.files(net(), mine) == (
        ("/r/lab/served/names/abc.0", "10.1.2.3 web.cloison web\nfd00:1::3 web.cloison web\n"),
        ("/r/lab/served/leases/abc.0", "02:c1:05:00:00:0a,id:*,10.1.2.3,[fd00:1::3],web\n"),
    )


@pytest.mark.parametrize("changes", [{"parent": "eth0"}, {"is_dns": False, "is_dhcp": False}, {"ipv4": "", "ipv6": ""}])
def test_a_network_that_is_not_served_has_no_files(changes: dict[str, object]) -> None:
    mine = dnsmasq.Reservation("abc.0", "web", "02:c1:05:00:00:0a", ("10.1.2.3/24",))
    assert dnsmasq.files(net(**changes), mine) == ()
