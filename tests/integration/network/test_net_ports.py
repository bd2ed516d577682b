"""Ports of the host that lead to an instance: from outside, from the host, from siblings, from 127.0.0.1."""

import socket
import subprocess
import threading

import pytest

from cloison import Engine
from cloison.base.errors import CloisonError, Exists
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE, World

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


@pytest.fixture
def lan(engine: Engine) -> None:
    """A network, with which the tables of rules go."""
    engine.networks.create("lan")


@pytest.mark.guest
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_is_reached_from_everywhere(protocol: str, nicked: Nicked, outside: World) -> None:
    web, db = nicked("web", f"ports.8080/{protocol}=80"), nicked("db")
    with netlab.serving(web, 80, protocol):
        # The instance sees who it is that asks from outside.
        assert netlab.asks(outside, netlab.HOST4, 8080, protocol) == netlab.OUTSIDE4
        assert netlab.asks(outside, netlab.HOST6, 8080, protocol) == netlab.OUTSIDE6
        for target in (netlab.HOST4, netlab.HOST6, "127.0.0.1"):
            assert "E" not in netlab.asks(HERE, target, 8080, protocol), target
        for target in (netlab.HOST4, netlab.HOST6):
            assert "E" not in netlab.asks(db, target, 8080, protocol), target
        bridge = netlab.bridge_of(web)
        assert "E" not in netlab.asks(db, netlab.address(HERE, bridge), 8080, protocol)
    web.stop()
    assert netlab.cannot_reach(outside, netlab.HOST4, 8080, protocol)


def test_no_other_port_and_no_other_protocol(nicked: Nicked, outside: World) -> None:
    web = nicked("web", "ports.8080/tcp=80")
    with netlab.serving(web), netlab.serving(web, 81), netlab.serving(web, 80, "udp"):
        assert netlab.cannot_reach(outside, netlab.HOST4, 80)
        assert netlab.cannot_reach(outside, netlab.HOST4, 81)
        assert netlab.cannot_reach(outside, netlab.HOST4, 8080, "udp")


def test_a_range_leads_each_to_its_own(nicked: Nicked, outside: World) -> None:
    web = nicked("web", "ports.9000-9002/tcp=80-82")
    with netlab.serving(web, 82):
        assert netlab.asks(outside, netlab.HOST4, 9002) == netlab.OUTSIDE4
        assert netlab.cannot_reach(outside, netlab.HOST4, 9001)


def test_of_one_address_alone(nicked: Nicked, outside: World) -> None:
    web = nicked("web", f"ports.{netlab.HOST4}:8080/tcp=80")
    with netlab.serving(web):
        assert netlab.asks(outside, netlab.HOST4, 8080) == netlab.OUTSIDE4
        assert netlab.cannot_reach(outside, netlab.HOST6, 8080)
        assert netlab.cannot_reach(HERE, "127.0.0.1", 8080)


def test_of_one_address_of_ipv6(nicked: Nicked, outside: World) -> None:
    web = nicked("web", f"ports.[{netlab.HOST6}]:8080/tcp=80")
    with netlab.serving(web):
        assert netlab.asks(outside, netlab.HOST6, 8080) == netlab.OUTSIDE6
        assert netlab.cannot_reach(outside, netlab.HOST4, 8080)


def test_127_0_0_1_is_not_reached_from_the_outside(nicked: Nicked, outside: World) -> None:
    """route_localnet would let in who sends packets to 127.0.0.1 by hand: they are dropped."""
    web = nicked("web", "ports.127.0.0.1:8080/tcp=80")
    outside.do(f"ip route add 127.0.0.1/32 via {netlab.HOST4} table 7; ip rule add to 127.0.0.1 table 7 priority 0")
    try:
        with netlab.serving(web):
            assert netlab.cannot_reach(outside, netlab.HOST4, 8080)
            assert "E" not in netlab.asks(HERE, "127.0.0.1", 8080)
    finally:
        outside.do("ip rule del to 127.0.0.1; ip route flush table 7")


def test_ports_come_and_go_live(nicked: Nicked, outside: World) -> None:
    web = nicked()
    with netlab.serving(web):
        assert netlab.cannot_reach(outside, netlab.HOST4, 8080)
        web.set("ports.8080/tcp=80")
        assert netlab.asks(outside, netlab.HOST4, 8080) == netlab.OUTSIDE4
        web.set("ports.8080/tcp=")
        assert netlab.cannot_reach(outside, netlab.HOST4, 8080)
        web.set("ports.8081/tcp=80")
        web.stop()
        web.start()
    with netlab.serving(web):
        assert netlab.asks(outside, netlab.HOST4, 8081) == netlab.OUTSIDE4
        assert netlab.cannot_reach(outside, netlab.HOST4, 8080)


def test_a_port_that_somebody_has_is_refused_by_name(nicked: Nicked, engine: Engine) -> None:
    nicked("web", "ports.8080/tcp=80")
    with pytest.raises(CloisonError, match="web"):
        nicked("db", "ports.8080/tcp=80")
    with socket.create_server(("0.0.0.0", 8090)), pytest.raises(Exists, match=r"python|pytest"):
        nicked("db", "ports.8085-8095/tcp=80-90")
    assert [each.name for each in engine.instances()] == ["web"]


def test_the_host_serves_its_own_ports_beside(nicked: Nicked, outside: World) -> None:
    nicked("web", "ports.8080/tcp=80")
    with netlab.serving(HERE, 8443):
        assert netlab.asks(outside, netlab.HOST4, 8443) == netlab.OUTSIDE4


@pytest.mark.usefixtures("routing", "lan")
def test_a_port_of_a_routed_nic(nicked: Nicked, outside: World) -> None:
    web = nicked(
        "web",
        "nics.eth0.type=routed",
        f"nics.eth0.parent={netlab.UPLINK}",
        "nics.eth0.addresses=203.0.113.50/32",
        "ports.8080/tcp=80",
    )
    with netlab.serving(web):
        assert netlab.asks(outside, netlab.HOST4, 8080) == netlab.OUTSIDE4


def test_rules_of_a_nic_on_no_network_go_with_the_last_of_them(nicked: Nicked) -> None:
    before = netlab.rules()
    web = nicked("web", "nics.eth0.type=p2p", "nics.eth0.addresses=10.66.0.2/30", "ports.8080/tcp=80")
    web.delete(force=True)
    after = netlab.rules()
    for line in netlab.rule_texts().splitlines():
        if line.startswith("table "):
            subprocess.run(["nft", "delete", *line.split()[:3]], check=True)
    assert after == before


@pytest.mark.parametrize("filters", [0, 1])
def test_who_has_a_port_reaches_it_himself(filters: int, nicked: Nicked, lab: netlab.Lab) -> None:
    """With br_netfilter, which Docker switches on, what is led back does not leave the bridge."""
    lab.host.do(f"sysctl -qw net.bridge.bridge-nf-call-iptables={filters}")
    try:
        web, db = nicked("web", "ports.8080/tcp=80", "nics.eth0.type=bridged"), nicked("db")
        db.set("ports.8081/tcp=80")
        for each, port in ((web, 8080), (db, 8081)):
            with netlab.serving(each):
                assert "E" not in netlab.asks(each, netlab.HOST4, port)
    finally:
        lab.host.do("sysctl -qw net.bridge.bridge-nf-call-iptables=1")


def test_of_a_second_nic(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth1.network=back", "ports.8080/tcp=80@eth1")
    with netlab.serving(web, where=netlab.address(web, "eth1")):
        assert "E" not in netlab.asks(HERE, netlab.HOST4, 8080)


def test_ports_for_many_at_once(engine: Engine, nicked: Nicked, outside: World) -> None:
    """Rules of several starts at the same time do not get into each other's way."""
    ready = [nicked(f"w{number}") for number in range(4)]
    failures: list[BaseException] = []

    def add(number: int) -> None:
        try:
            ready[number].set(f"ports.{8100 + number}/tcp=80")
        except BaseException as problem:
            failures.append(problem)

    workers = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert failures == []
    for number, web in enumerate(ready):
        with netlab.serving(web):
            assert netlab.asks(outside, netlab.HOST4, 8100 + number) == netlab.OUTSIDE4
