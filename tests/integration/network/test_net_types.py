"""Every type of nic: whom it reaches and whom not, and that the host has its interfaces back."""

import subprocess

import pytest

from cloison import Engine
from cloison.base.errors import Unsupported
from cloison.engine import explaining
from tests.integration.conftest import eventually
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE, World

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]


def test_none_has_not_even_a_loopback(nicked: Nicked) -> None:
    web = nicked("web", "nics.eth0.type=none")
    assert [each["ifname"] for each in netlab.ip(web, "link", "show", "up")] == []
    assert netlab.cannot_reach(web, "127.0.0.1")


def test_empty_has_a_loopback_alone(nicked: Nicked) -> None:
    web = nicked("web", "nics.eth0.type=empty")
    assert [each["ifname"] for each in netlab.ip(web, "link", "show", "up")] == ["lo"]
    with netlab.serving(web):
        assert netlab.asks(web, "127.0.0.1") == "127.0.0.1"
    assert netlab.asks(web, netlab.OUTSIDE4) == "ENETUNREACH"


def test_host_has_the_hosts_own(nicked: Nicked, outside: World) -> None:
    web = nicked("web", "nics.eth0.type=host")
    with netlab.serving(outside):
        assert netlab.asks(web, netlab.OUTSIDE4) == netlab.HOST4
    assert netlab.link_names(web) == netlab.link_names(HERE)


def test_bridged_reaches_everybody_under_the_right_name(nicked: Nicked, outside: World) -> None:
    web, db = nicked("web"), nicked("db")
    for family, far in ((4, netlab.FAR4), (6, netlab.FAR6)):
        mine, other = netlab.address(web, family=family), netlab.address(db, family=family)
        with netlab.serving(db), netlab.serving(outside), netlab.serving(HERE):
            assert netlab.asks(web, other) == mine
            assert netlab.asks(HERE, other) == netlab.address(HERE, netlab.bridge_of(web), family)
            assert netlab.asks(web, netlab.address(HERE, netlab.bridge_of(web), family)) == mine
            # The outside has no way back to the instance's address: it sees the host's.
            assert netlab.asks(web, far) == (netlab.HOST4 if family == 4 else netlab.HOST6)
        with netlab.serving(web):
            assert netlab.cannot_reach(outside, mine)


def test_bridged_on_a_bridge_of_the_hosts(nicked: Nicked, lab: netlab.Lab) -> None:
    lab.host.do("ip link add br7 type bridge; ip address add 10.77.0.1/24 dev br7; ip link set br7 up")
    try:
        web = nicked("web", "nics.eth0.parent=br7", "nics.eth0.addresses=10.77.0.2/24", "nics.eth0.gateway=10.77.0.1")
        with netlab.serving(web):
            assert netlab.asks(HERE, "10.77.0.2") == "10.77.0.1"
        assert netlab.bridge_of(web) == "br7"
        assert "default via 10.77.0.1 dev eth0" in netlab.routes(web)
        web.delete(force=True)
        assert "br7" in netlab.link_names(HERE)
    finally:
        lab.host.do("ip link delete br7")


@pytest.mark.usefixtures("routing")
def test_routed_is_reached_through_the_host_alone(nicked: Nicked, outside: World) -> None:
    """The outside asks on its own link who has the address: the host answers for the instance, and routes."""
    config = ("nics.eth0.type=routed", f"nics.eth0.parent={netlab.UPLINK}")
    web = nicked("web", *config, "nics.eth0.addresses=203.0.113.50/32,2001:db8::50/128")
    db = nicked("db", *config, "nics.eth0.addresses=203.0.113.51/32,2001:db8::51/128")
    with netlab.serving(web), netlab.serving(outside):
        assert netlab.asks(outside, "203.0.113.50") == netlab.OUTSIDE4
        assert netlab.asks(outside, "2001:db8::50") == netlab.OUTSIDE6
        assert netlab.asks(db, "203.0.113.50") == "203.0.113.51"
        assert netlab.asks(db, "2001:db8::50") == "2001:db8::51"
        assert netlab.asks(web, netlab.FAR4) == "203.0.113.50"
        assert netlab.asks(web, netlab.FAR6) == "2001:db8::50"
        assert netlab.asks(HERE, "203.0.113.50") in (netlab.HOST4, "169.254.1.1")
    assert "default via 169.254.1.1 dev eth0" in netlab.routes(web)
    mac = netlab.link(web, "eth0")["address"]
    with netlab.frames(db, "eth0") as seen:  # no broadcast comes through
        netlab.said(web, "frame", "eth0", netlab.arp(mac, "203.0.113.50", "203.0.113.51"))
    assert not [each for each in seen if each[6:12] == bytes.fromhex(mac.replace(":", ""))]


def test_routed_switches_on_what_it_needs(nicked: Nicked, outside: World) -> None:
    config = ("nics.eth0.type=routed", f"nics.eth0.parent={netlab.UPLINK}", "nics.eth0.addresses=203.0.113.50/32")
    with netlab.serving(nicked("web", *config)):
        assert netlab.asks(outside, "203.0.113.50", timeout_ms=1500) == netlab.OUTSIDE4


def test_routed_on_a_network(nicked: Nicked, outside: World) -> None:
    """Addresses of a network without its layer 2: bridged ones, the host and the outside are reached."""
    web, db = nicked("web"), nicked("db", "nics.eth0.type=routed", "nics.eth0.network=cloison0")
    for family in (4, 6):
        mine, other = netlab.address(db, family=family), netlab.address(web, family=family)
        with netlab.serving(web), netlab.serving(db):
            assert netlab.asks(db, other) == mine
            assert netlab.asks(web, mine) == other
    with netlab.serving(outside):
        assert netlab.asks(db, netlab.FAR4) == netlab.HOST4
        assert netlab.asks(db, netlab.FAR6) == netlab.HOST6


@pytest.mark.parametrize(
    ("mode", "sibling"), [("bridge", "203.0.113.61"), ("private", "E"), ("vepa", "E"), ("passthru", "")]
)
def test_macvlan(mode: str, sibling: str, nicked: Nicked, outside: World) -> None:
    config = ("nics.eth0.type=macvlan", f"nics.eth0.parent={netlab.UPLINK}", f"nics.eth0.mode={mode}")
    web = nicked("web", *config, "nics.eth0.addresses=203.0.113.60/24", f"nics.eth0.gateway={netlab.OUTSIDE4}")
    with netlab.serving(outside):
        assert netlab.asks(web, netlab.OUTSIDE4) == "203.0.113.60"
        assert netlab.asks(web, netlab.FAR4) == "203.0.113.60"
    kind = netlab.link(web, "eth0")["linkinfo"]
    assert (kind["info_kind"], kind["info_data"]["mode"]) == ("macvlan", mode)
    if not sibling:
        return
    db = nicked("db", *config, "nics.eth0.addresses=203.0.113.61/24")
    with netlab.serving(web):
        reached = netlab.asks(db, "203.0.113.60", timeout_ms=1000)
    assert reached.startswith(sibling)


@pytest.mark.needs_ipvlan
@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_ipvlan(mode: str, nicked: Nicked, outside: World) -> None:
    config = ("nics.eth0.type=ipvlan", f"nics.eth0.parent={netlab.UPLINK}", f"nics.eth0.mode={mode}")
    web = nicked("web", *config, "nics.eth0.addresses=203.0.113.70/24")
    db = nicked("db", *config, "nics.eth0.addresses=203.0.113.71/24")
    with netlab.serving(outside), netlab.serving(db):
        assert netlab.asks(web, netlab.OUTSIDE4) == "203.0.113.70"
        assert netlab.asks(web, "203.0.113.71") == "203.0.113.70"
    assert netlab.link(web, "eth0")["linkinfo"]["info_data"]["mode"] == mode
    assert netlab.link(web, "eth0")["address"] == netlab.link(HERE, netlab.UPLINK)["address"]


@pytest.mark.needs_vlan
def test_vlan(nicked: Nicked, outside: World) -> None:
    """A VLAN is met by who has the same tag, and by nobody else."""
    outside.do(f"ip link add link {netlab.UPLINK} name wan0.7 type vlan id 7; ip link set wan0.7 up")
    outside.do("ip address add 10.70.0.1/24 dev wan0.7")
    try:
        config = ("nics.eth0.type=vlan", f"nics.eth0.parent={netlab.UPLINK}", "nics.eth0.addresses=10.70.0.2/24")
        web = nicked("web", *config, "nics.eth0.vlan=7")
        with netlab.serving(outside):
            assert netlab.asks(web, "10.70.0.1") == "10.70.0.2"
        assert netlab.link(web, "eth0")["linkinfo"]["info_data"]["id"] == 7
        web.delete(force=True)
        other = nicked("other", *config, "nics.eth0.vlan=8")
        with netlab.serving(outside):
            assert netlab.cannot_reach(other, "10.70.0.1")
    finally:
        outside.do("ip link delete wan0.7")


@pytest.mark.needs_bridge_vlan
def test_bridged_with_a_tag_meets_its_own_vlan_alone(nicked: Nicked, lab: netlab.Lab) -> None:
    lab.host.do("ip link add br7 type bridge vlan_filtering 1; ip link set br7 up")
    try:
        config = ("nics.eth0.parent=br7",)
        web = nicked("web", *config, "nics.eth0.vlan=7", "nics.eth0.addresses=10.77.0.2/24")
        same = nicked("same", *config, "nics.eth0.vlan=7", "nics.eth0.addresses=10.77.0.3/24")
        other = nicked("other", *config, "nics.eth0.vlan=8", "nics.eth0.addresses=10.77.0.4/24")
        with netlab.serving(web):
            assert netlab.asks(same, "10.77.0.2") == "10.77.0.3"
            assert netlab.cannot_reach(other, "10.77.0.2")
        for each in (web, same, other):
            each.delete(force=True)
    finally:
        lab.host.do("ip link delete br7")


@pytest.mark.parametrize("how", ["stop", "kill", "delete"])
def test_phys_is_given_back_with_its_name_however_it_ends(how: str, nicked: Nicked, lab: netlab.Lab) -> None:
    lab.host.do(
        "ip link add card0 type veth peer name card1; ip link set card1 up; ip address add 10.88.0.1/24 dev card1"
    )
    try:
        before = netlab.link(HERE, "card0")
        web = nicked("web", "nics.eth0.type=phys", "nics.eth0.parent=card0", "nics.eth0.addresses=10.88.0.2/24")
        assert "card0" not in netlab.link_names(HERE)
        with netlab.serving(web):
            assert netlab.asks(HERE, "10.88.0.2") == "10.88.0.1"
        assert "link set dev card0 netns" in explaining.text(web.explain())  # though it is inside now
        if how == "stop":
            web.stop()
        elif how == "kill":
            web.kill("KILL")
            web.wait(10)
        else:
            web.delete(force=True)
        assert eventually(lambda: "card0" in netlab.link_names(HERE), 5)
        after = netlab.link(HERE, "card0")
        assert (after["address"], after["mtu"], after.get("altnames")) == (
            before["address"],
            before["mtu"],
            before.get("altnames"),
        )
    finally:
        lab.host.do("ip link delete card1")


def test_a_type_that_the_kernel_lacks_is_named_with_its_module(nicked: Nicked, lab: netlab.Lab) -> None:
    tried = "ip link add link {} name try0 type {} 2>/dev/null && ip link delete try0 || echo {}"
    kinds = [tried.format(netlab.UPLINK, words, words.split()[0]) for words in ("ipvlan", "vlan id 9")]
    done = subprocess.run(lab.host.argv("sh", "-c", "; ".join(kinds)), capture_output=True, text=True, check=True)
    missing = done.stdout.split()
    if not missing:
        pytest.skip("this kernel has all of them")
    for kind in missing:
        words = [f"nics.eth0.type={kind}", f"nics.eth0.parent={netlab.UPLINK}", "nics.eth0.addresses=10.88.0.2/24"]
        with pytest.raises(Unsupported, match=f"this kernel has no {kind}, ") as refused:
            nicked("web", *words, *(["nics.eth0.vlan=7"] if kind == "vlan" else []))
        assert f"modprobe {'8021q' if kind == 'vlan' else kind}, " in refused.value.hint


def test_p2p_leaves_the_hosts_end_to_its_user(nicked: Nicked) -> None:
    web = nicked("web", "nics.eth0.type=p2p", "nics.eth0.addresses=10.66.0.2/30")
    end = f"v{web.id[:8]}n0"
    found = netlab.link(HERE, end)
    assert "master" not in found
    assert netlab.addresses(HERE, end) == []
    subprocess.run(["ip", "address", "add", "10.66.0.1/30", "dev", end], check=True)
    with netlab.serving(web):
        assert netlab.asks(HERE, "10.66.0.2") == "10.66.0.1"
    web.stop()
    assert end not in netlab.link_names(HERE)


def test_several_nics_of_several_types(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none", "internal=true"])
    web = nicked(
        "web",
        "nics.eth0.type=bridged",
        "nics.lan.network=back",
        "nics.lan.addresses=10.55.0.9",
        "nics.wan.type=macvlan",
        f"nics.wan.parent={netlab.UPLINK}",
        "nics.wan.addresses=203.0.113.80/24",
        "nics.wan.gateway=none",
    )
    assert {"lo", "eth0", "lan", "wan"} <= netlab.link_names(web)
    assert netlab.addresses(web, "lan") == ["10.55.0.9/24"]
    with netlab.serving(outside), netlab.serving(web):
        assert netlab.asks(web, netlab.FAR4) == netlab.HOST4
        assert netlab.asks(web, netlab.OUTSIDE4) == "203.0.113.80"
        assert netlab.asks(HERE, "10.55.0.9") == "10.55.0.1"


def test_what_is_said_of_a_nic_is_what_the_kernel_has(nicked: Nicked) -> None:
    web = nicked(
        "web",
        "nics.lan0.type=bridged",
        "nics.lan0.mac=02:c1:05:ab:cd:ef",
        "nics.lan0.mtu=1400",
        "nics.lan0.routes=10.200.0.0/16 metric 7",
    )
    found = netlab.link(web, "lan0")
    assert (found["address"], found["mtu"], found["operstate"]) == ("02:c1:05:ab:cd:ef", 1400, "UP")
    assert {"10.200.0.0/16 via - dev lan0"} <= netlab.routes(web)
    web.stop()
    mac_of_default = nicked("db")
    assert netlab.link(mac_of_default, "eth0")["address"].startswith("02:c1:05:")
