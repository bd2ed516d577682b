"""A nic of what runs, changed in what takes it away and gives it back: with ip(8) inside and outside as the witness."""

from collections.abc import Iterator
from typing import Any

import pytest

from cloison import Engine, Instance
from cloison.base.errors import CloisonError, Invalid
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked, delete_all
from tests.integration.network.netlab import HERE

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
MAC = "02:00:00:00:00:77"


@pytest.fixture
def cards(lab: netlab.Lab, engine: Engine) -> Iterator[None]:
    """Two pairs of interfaces on this host, card1 with peer1 and card2 with peer2, and a bridge of its own."""
    lab.host.do(
        "for n in 1 2; do ip link add card$n up type veth peer name peer$n; ip link set peer$n up;"
        " ip address add 10.7$n.0.1/24 dev peer$n; done; ip link add br8 up type bridge"
    )
    yield
    delete_all(engine)
    assert {"card1", "card2", "br8"} <= netlab.link_names(HERE)
    lab.host.do("ip link del card1; ip link del card2; ip link del br8")


def seen(web: Instance) -> dict[str, Any]:
    """eth0 as it is inside, with its addresses."""
    link = netlab.link(web, "eth0")
    kind = link.get("linkinfo", {}).get("info_kind", "")
    return {"mac": link["address"], "mtu": link["mtu"], "kind": kind, "addresses": set(netlab.addresses(web, "eth0"))}


def test_bridged_goes_to_another_network_and_to_a_bridge_of_the_host(
    nicked: Nicked, engine: Engine, cards: None
) -> None:
    engine.networks.create("lan", ["ipv4=10.55.0.1/24", "ipv6=none", "mtu=1400"])
    web = nicked("web", "nics.eth0.type=bridged", "ports.8080/tcp=80")
    before = seen(web)
    web.set("nics.eth0.network=lan", "nics.eth0.addresses=10.55.0.9")
    assert seen(web) == before | {"mtu": 1400, "addresses": {"10.55.0.9/24"}}
    assert netlab.routes(web) >= {"default via 10.55.0.1 dev eth0"}
    with netlab.serving(web):
        assert netlab.asks(HERE, "10.55.0.9") == "10.55.0.1"
        assert "E" not in netlab.asks(HERE, netlab.HOST4, 8080)  # its ports have come along
    web.set("ports.8080/tcp=")  # nobody is led to what is not behind this host
    web.set("nics.eth0.network=", "nics.eth0.parent=br8", "nics.eth0.addresses=10.8.0.2/24", f"nics.eth0.mac={MAC}")
    assert (netlab.bridge_of(web), seen(web)["mac"], seen(web)["mtu"]) == ("br8", MAC, 1500)
    web.set("nics.eth0.mtu=1300")
    assert seen(web) == before | {"mac": MAC, "mtu": 1300, "addresses": {"10.8.0.2/24"}}


def test_macvlan_goes_to_another_parent(nicked: Nicked, cards: None) -> None:
    web = nicked("web", "nics.eth0.type=macvlan", "nics.eth0.parent=card1", "nics.eth0.addresses=10.71.0.2/24")
    for parent, address in (("card2", "10.72.0.2"), ("card1", "10.71.0.2")):
        web.set(f"nics.eth0.parent={parent}", f"nics.eth0.addresses={address}/24", f"nics.eth0.mac={MAC}")
        assert seen(web)["kind"] == "macvlan"
        assert netlab.link(web, "eth0")["link_index"] == netlab.link(HERE, parent)["ifindex"]
        with netlab.serving(web):
            assert "E" not in netlab.asks(HERE, address)
    web.set("nics.eth0.mode=private", "nics.eth0.mtu=1300", "nics.eth0.mac=02:00:00:00:00:78")
    assert netlab.link(web, "eth0")["linkinfo"]["info_data"]["mode"] == "private"
    assert (seen(web)["mtu"], seen(web)["mac"]) == (1300, "02:00:00:00:00:78")


def test_routed_gets_another_address(nicked: Nicked, cards: None) -> None:
    web = nicked("web", "nics.eth0.type=routed", "nics.eth0.parent=card1", "nics.eth0.addresses=10.71.0.50")
    web.set("nics.eth0.parent=card2", "nics.eth0.addresses=10.72.0.50", "nics.eth0.mtu=1300")
    assert (seen(web)["addresses"], seen(web)["mtu"]) == ({"10.72.0.50/32"}, 1300)
    assert not any(each.startswith("10.71.0.50") for each in netlab.routes(HERE))
    proxies = [(each["dst"], each["dev"]) for each in netlab.ip(HERE, "neighbour", "show", "proxy")]
    assert proxies == [("10.72.0.50", "card2")]
    with netlab.serving(web):
        assert "E" not in netlab.asks(HERE, "10.72.0.50")


def test_p2p_keeps_its_end_on_the_host(nicked: Nicked, lab: netlab.Lab) -> None:
    web = nicked("web", "nics.eth0.type=p2p", "nics.eth0.addresses=10.73.0.2/24")
    before = {each for each in netlab.link_names(HERE) if each.startswith("v")}
    web.set("nics.eth0.mtu=1300", f"nics.eth0.mac={MAC}", "nics.eth0.addresses=10.73.0.3/24")
    assert seen(web) == {"mac": MAC, "mtu": 1300, "kind": "veth", "addresses": {"10.73.0.3/24"}}
    assert {each for each in netlab.link_names(HERE) if each.startswith("v")} == before
    (end,) = before
    lab.host.do(f"ip address add 10.73.0.1/24 dev {end}")
    with netlab.serving(web):
        assert netlab.asks(HERE, "10.73.0.3") == "10.73.0.1"


def test_phys_is_exchanged_for_another(nicked: Nicked, cards: None) -> None:
    web = nicked("web", "nics.eth0.type=phys", "nics.eth0.parent=card1", "nics.eth0.addresses=10.71.0.2/24")
    assert "card1" not in netlab.link_names(HERE)
    web.set("nics.eth0.parent=card2", "nics.eth0.addresses=10.72.0.2/24")
    assert netlab.link_names(HERE) >= {"card1"}
    assert "card2" not in netlab.link_names(HERE)
    with netlab.serving(web):
        assert netlab.asks(HERE, "10.72.0.2") == "10.72.0.1"
    web.set("nics.eth0.mtu=1300")
    assert seen(web)["mtu"] == 1300


def test_a_nic_becomes_one_of_another_type(nicked: Nicked, cards: None) -> None:
    web = nicked("web", "nics.eth0.type=bridged")
    web.set("nics.eth0.type=macvlan", "nics.eth0.parent=card1", "nics.eth0.addresses=10.71.0.2/24")
    assert (seen(web)["kind"], seen(web)["addresses"]) == ("macvlan", {"10.71.0.2/24"})
    web.set("nics.eth0.type=bridged", "nics.eth0.parent=", "nics.eth0.addresses=")
    assert (seen(web)["kind"], len(seen(web)["addresses"])) == ("veth", 2)


def test_a_change_that_cannot_be_leaves_the_nic_that_there_is(nicked: Nicked, cards: None) -> None:
    web = nicked("web", "nics.eth0.type=bridged")
    before = seen(web)
    for words in (
        ("nics.eth0.type=macvlan", "nics.eth0.parent=nothere"),
        ("nics.eth0.mac=01:00:00:00:00:01",),
        ("nics.eth0.mtu=99999",),
        ("nics.eth0.addresses=10.71.0.2",),
    ):
        with pytest.raises(CloisonError):
            web.set(*words)
        assert seen(web) == before
    with pytest.raises(Invalid) as refused:
        web.set("nics.eth0.type=host")
    assert "--next-start" in refused.value.hint
    assert seen(web) == before
