"""What forwarding is switched on for networks and given back, on kernels with one switch of IPv6 for all interfaces."""

import pytest

from cloison.kernel import inventory
from cloison.network import forwarding
from cloison.network.forwarding import Switch, given_back, holder, needed, wanted
from cloison.network.network import Network

Book = dict[str, tuple[Switch, ...]]
ALL6, RA = "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv6/conf/up/accept_ra"
UP4 = "/proc/sys/net/ipv4/conf/up/forwarding"
LAN, WEB = (
    Network(name=name, bridge=name, run="", data="", ipv4="10.9.0.1/24", ipv6="fd00:9::1/64") for name in ("lan", "web")
)


class Host:
    """The kernel's parameters, and what is noted of them."""

    def __init__(self) -> None:
        self.settings = {"/proc/sys/net/ipv4/conf/all/forwarding": "0", UP4: "0", ALL6: "0", RA: "1"}
        self.book: Book = {}

    def up(self, of: Network) -> None:
        switches = needed(holder(of), wanted(of, ("up",)), self.book)
        self.settings.update({each.path: each.value for each in switches})
        self.book[holder(of)] = switches

    def down(self, of: Network) -> None:
        for each in given_back(holder(of), self.book):
            self.settings[each.path] = each.former
        del self.book[holder(of)]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(inventory, "setting", host.settings.get)
    assert not forwarding.has_force_forwarding()
    return host


def test_what_one_network_has_switched_on_goes_with_it(host: Host) -> None:
    before = dict(host.settings)
    host.up(LAN)
    assert (host.settings[UP4], host.settings[ALL6], host.settings[RA]) == ("1", "1", "2")
    host.down(LAN)
    assert host.settings == before


@pytest.mark.parametrize("order", [(LAN, WEB), (WEB, LAN)], ids=["the first first", "the last first"])
def test_what_two_have_switched_on_goes_with_the_last(order: tuple[Network, Network], host: Host) -> None:
    before = dict(host.settings)
    host.up(LAN)
    both = dict(host.settings)
    host.up(WEB)
    host.down(order[0])
    assert host.settings == both
    host.up(order[1])  # it may be brought up again at any time
    assert host.settings == both
    host.down(order[1])
    assert host.settings == before


def test_a_host_that_is_a_router_already_stays_as_it_is(host: Host) -> None:
    host.settings[ALL6] = "1"
    before = dict(host.settings)
    host.up(LAN)
    assert {path for path in before if host.settings[path] != before[path]} == {UP4}
    host.down(LAN)
    assert host.settings == before


def test_a_host_that_has_become_a_router_stays_one(host: Host) -> None:
    host.up(LAN)
    host.settings["/proc/sys/net/ipv4/conf/all/forwarding"] = "1"
    host.down(LAN)
    assert (host.settings[UP4], host.settings[ALL6], host.settings[RA]) == ("1", "0", "1")


@pytest.mark.parametrize("value", ["0", "2"])
def test_an_interface_that_somebody_has_told_what_to_hear_is_left_alone(value: str, host: Host) -> None:
    host.settings[RA] = value
    host.up(LAN)
    assert host.settings[RA] == value
    host.down(LAN)
    assert host.settings[RA] == value
