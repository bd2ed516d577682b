"""What is made of what a host has: its interfaces, its routes, its sockets that listen."""

import pytest

from cloison.kernel import sockets
from cloison.kernel.netlink.routes import Route
from cloison.kernel.netlink.values import Interface
from cloison.kernel.sockets import Listener
from cloison.network import host
from cloison.network.host import Host

LINKS = (
    Interface(index=1, name="lo"),
    Interface(index=2, name="eth0", altnames=("enp1s0",)),
    Interface(index=3, name="eth1"),
)
ROUTES = (
    Route(to="::/0", device=3),
    Route(to="0.0.0.0/0", device=2, via="192.0.2.1"),
    Route(to="10.7.0.0/16", device=3),
    Route(to="169.254.0.0/16", device=2),
    Route(to="fe80::/64", device=2),
)
HERE = Host(LINKS, ROUTES, ((2, "192.0.2.9/24"), (2, "fe80::9/64")))


def test_an_interface_is_known_by_its_other_names_too() -> None:
    assert HERE.interface("enp1s0") is HERE.interface("eth0") is LINKS[1]
    assert HERE.interface("eth7") is None
    assert (HERE.name_of(3), HERE.name_of(7)) == ("eth1", "")


def test_default_routes_of_ipv4_come_first() -> None:
    assert HERE.default_devices() == ("eth0", "eth1")


def test_uplinks_are_those_with_a_way_out() -> None:
    assert HERE.uplinks() == ("eth1", "eth0")
    assert HERE.uplinks(without=("eth1",)) == ("eth0",)


def test_what_is_taken_is_told_with_who_has_it_but_for_what_every_link_has() -> None:
    assert HERE.taken() == (
        ("192.0.2.9/24", "an address of eth0"),
        ("10.7.0.0/16", "a route of the host through eth1"),
    )


@pytest.mark.parametrize(
    ("protocol", "first", "last", "address", "found"),
    [
        ("tcp", 80, 80, "", (80, "nginx (process 7)")),
        ("tcp", 70, 90, "192.0.2.9", (80, "nginx (process 7)")),
        ("tcp", 80, 80, "2001:db8::1", None),  # who listens on all of IPv4 leaves IPv6 alone
        ("udp", 80, 80, "", None),
        ("tcp", 81, 89, "", None),
        ("udp", 53, 53, "127.0.0.53", (53, "a socket of the host on 127.0.0.53")),
        ("udp", 53, 53, "192.0.2.9", None),
        ("tcp", 22, 22, "192.0.2.9", (22, "sshd (process 9)")),  # :: takes both families
        ("tcp", 22, 22, "2001:db8::1", (22, "sshd (process 9)")),
    ],
)
def test_a_port_that_somebody_listens_on_is_told_with_whom(
    monkeypatch: pytest.MonkeyPatch, protocol: str, first: int, last: int, address: str, found: tuple[int, str] | None
) -> None:
    listeners = (
        Listener("tcp", "0.0.0.0", 80, 1),
        Listener("udp", "127.0.0.53", 53, 2),
        Listener("tcp", "::", 22, 3),
    )
    owners = {1: "nginx (process 7)", 3: "sshd (process 9)"}
    monkeypatch.setattr(sockets, "listening", lambda: listeners)
    monkeypatch.setattr(sockets, "owner", lambda inode: owners.get(inode, ""))
    assert host.listening(protocol, first, last, address) == found
