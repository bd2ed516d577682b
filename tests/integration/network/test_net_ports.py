"""Ports of the host that lead to an instance: from outside, from the host, from siblings, from 127.0.0.1."""

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from cloison import Engine
from cloison.base.errors import CloisonError, Exists, Invalid
from cloison.network.network import table_of
from tests.integration.conftest import init_of
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


@pytest.mark.usefixtures("lan")
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("came", ["at the start", "with the nic", "later"])
@pytest.mark.parametrize("kind", ["routed", "p2p"])
def test_a_port_without_a_bridge_is_on_127_0_0_1(
    kind: str, came: str, protocol: str, nicked: Nicked, outside: World
) -> None:
    address = {"routed": "10.66.0.2/32", "p2p": "10.66.0.2/30"}[kind]
    keys = [f"type={kind}", f"addresses={address}", *(["gateway=10.66.0.1"] if kind == "p2p" else [])]
    nic, port = [f"nics.eth0.{each}" for each in keys], f"ports.8080/{protocol}=80"
    if came == "with the nic":
        web = nicked("web", "nics.eth0.type=empty")
        web.set(*nic, port)
    else:
        web = nicked("web", *nic, *([port] if came == "at the start" else []))
    (end,) = [each for each in netlab.link_names(HERE) if each.startswith(f"v{web.id[:8]}n")]
    if kind == "p2p":
        subprocess.run(["ip", "address", "add", "10.66.0.1/30", "dev", end], check=True)
    with netlab.serving(web, 80, protocol):
        if came == "later":
            assert netlab.cannot_reach(HERE, "127.0.0.1", 8080, protocol)
            web.ports.add(f"8080:80/{protocol}")
        assert "E" not in netlab.asks(HERE, "127.0.0.1", 8080, protocol)
        assert "E" not in netlab.asks(HERE, netlab.HOST4, 8080, protocol)
    # The host's loopback is nobody else's: what the guest sends there is dropped, by the rules alone.
    with netlab.serving(HERE, 81, protocol, "127.0.0.1"):
        assert "E" not in netlab.asks(HERE, "127.0.0.1", 81, protocol)
        within = ("nsenter", "--net", "--target", str(init_of(web)), "sh", "-ec")
        script = (
            "ip link set lo down; ip address flush dev lo; echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet;"
            " ip route flush table local 127.0.0.0/8; ip route add 127.0.0.1 via {} dev eth0 onlink"
        ).format("10.66.0.1" if kind == "p2p" else "169.254.1.1")
        subprocess.run([*within, script], check=True)
        before = _dropped()
        assert netlab.cannot_reach(web, "127.0.0.1", 81, protocol)
        assert _dropped() > before
    if came == "later":
        web.ports.remove(f"8080/{protocol}")
        assert Path(f"/proc/sys/net/ipv4/conf/{end}/route_localnet").read_text() == "0\n"
        assert end not in netlab.rule_texts()


def _dropped() -> int:
    """How many packets the chain of loopback addresses has dropped."""
    tables = [line.split()[2] for line in netlab.rule_texts().splitlines() if line.startswith("table inet cloison")]
    said = netlab.told("nft", "--json", "list", "chain", "inet", tables[0], "raw")["nftables"]
    parts = [part for each in said if "rule" in each for part in each["rule"]["expr"]]
    return sum(part["counter"]["packets"] for part in parts if "counter" in part)


@pytest.mark.parametrize(("host", "words"), [("[::1]", "no route_localnet"), ("[::]", "without an address")])
def test_a_port_on_the_loopback_of_ipv6_is_refused_in_words(host: str, words: str, nicked: Nicked) -> None:
    web = nicked()
    with pytest.raises(Invalid, match=words):
        web.ports.add(f"{host}:8080:80")
    assert web.ports.list() == ()


def test_what_nft_says_is_what_is_said(nicked: Nicked, root: Path) -> None:
    """A chain of that name is there, in which there is no forwarding."""
    web = nicked("web")
    chain = f"inet {table_of(str(root))} dnat_v{web.id[:8]}n0"
    subprocess.run(["nft", f"add chain {chain} {{ type filter hook input priority 0; }}"], check=True)
    with pytest.raises(CloisonError, match=r"nft --json -f -` ended with exit code 1: .*Error: "):
        web.ports.add("8080:80")
    assert web.ports.list() == ()
    subprocess.run(["nft", f"delete chain {chain}"], check=False)


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
