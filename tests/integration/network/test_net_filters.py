"""Who may talk to whom: rules, spoofing by a root inside, and rates."""

import socket
import time
from collections.abc import Callable

import pytest

from cloison import Engine, Instance
from cloison.engine import explaining
from tests.integration.network import netlab
from tests.integration.network.conftest import INIT, Nicked
from tests.integration.network.netlab import HERE, World
from tests.patience import patient

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
MBIT = 1_000_000


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.guest
def test_rules_of_a_nic_inward(nicked: Nicked, outside: World) -> None:
    web = nicked("web", "nics.eth0.rules=allow in tcp 80; deny in", "ports.8080/tcp=80", "ports.8081/tcp=81")
    db = nicked("db")
    for family, far, host in ((4, netlab.FAR4, netlab.HOST4), (6, netlab.FAR6, netlab.HOST6)):
        own = netlab.address(web, family=family)
        with netlab.serving(web, 80), netlab.serving(web, 81), netlab.serving(outside), netlab.serving(web, 80, "udp"):
            for place in (db, HERE):
                assert "E" not in netlab.asks(place, own, 80)
                assert netlab.cannot_reach(place, own, 81)
                assert netlab.cannot_reach(place, own, 80, "udp")
            assert "E" not in netlab.asks(outside, host, 8080)
            assert netlab.cannot_reach(outside, host, 8081)
            assert "E" not in netlab.asks(web, far)  # and answers come in


def test_the_ports_of_dhcp_are_no_way_around_rules(nicked: Nicked) -> None:
    """What comes from a server's port, or goes to one, is DHCP only where the other end is a client's."""
    strict, other = nicked("strict", "nics.eth0.rules=deny in; deny out"), nicked("other")
    ends = {each: (str(netlab.link(each, "eth0")["address"]), netlab.address(each)) for each in (strict, other)}

    def comes(sender: Instance, to: Instance, ports: tuple[int, int], mark: bytes) -> bool:
        (from_mac, source), (to_mac, target) = ends[sender], ends[to]
        frame = netlab.udp4(from_mac, to_mac, source, target, mark, ports=ports)
        last = netlab.arp(from_mac, source, target, to=to_mac, reply=True)  # always passes
        with netlab.frames(to, "eth0", last=b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02") as seen:
            for each in (frame, last):
                assert netlab.said(sender, "frame", "eth0", each) == "ok"
        return any(mark in each for each in seen)

    assert comes(other, strict, (67, 68), b"as-offer")
    assert comes(strict, other, (68, 67), b"as-request")
    for server in (67, 547):
        assert not comes(other, strict, (server, 53), b"as-server")
        assert not comes(strict, other, (1053, server), b"to-server")


def test_rules_of_a_nic_outward(nicked: Nicked, outside: World) -> None:
    web = nicked("web", f"nics.eth0.rules=deny out tcp 80 to {netlab.FAR4}/32; deny out udp")
    db = nicked("db")
    with netlab.serving(outside), netlab.serving(outside, 81), netlab.serving(outside, 80, "udp"), netlab.serving(db):
        assert netlab.cannot_reach(web, netlab.FAR4)
        assert netlab.asks(web, netlab.FAR4, 81) == netlab.HOST4
        assert netlab.asks(web, netlab.OUTSIDE4) == netlab.HOST4
        assert netlab.cannot_reach(web, netlab.OUTSIDE4, 80, "udp")
        assert netlab.asks(db, netlab.OUTSIDE4, 80, "udp") == netlab.HOST4  # others are not bound by it
        assert "E" not in netlab.asks(web, netlab.address(db))


def test_rules_name_instances_and_networks(nicked: Nicked, engine: Engine) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none", "nat=false"])
    friend, foe = nicked("friend"), nicked("foe")
    web = nicked("web", "nics.eth0.rules=allow in from friend; deny in from cloison0")
    with netlab.serving(web):
        assert "E" not in netlab.asks(friend, netlab.address(web))
        assert netlab.cannot_reach(foe, netlab.address(web))


def test_rules_name_instances_of_other_networks(nicked: Nicked, engine: Engine) -> None:
    """What comes from there is not hidden behind an address of the host's."""
    engine.networks.create("far")
    foe, friend = nicked("foe", "nics.eth0.network=far"), nicked("friend", "nics.eth0.network=far")
    routed = nicked("routed", "nics.eth0.network=far", "nics.eth0.type=routed")
    web = nicked("web", "nics.eth0.rules=deny in from foe; deny in from routed")
    with netlab.serving(web):
        for family in (4, 6):
            assert "E" not in netlab.asks(friend, netlab.address(web, family=family))
            assert netlab.cannot_reach(foe, netlab.address(web, family=family))
            assert netlab.cannot_reach(routed, netlab.address(web, family=family))


def test_rules_follow_whom_they_name(nicked: Nicked, engine: Engine) -> None:
    """An instance that comes after the rule, gets another address, another name, goes: the rule means what it says."""
    engine.networks.create("lan", ["ipv4=10.55.0.1/24", "ipv6=none"])
    friend = nicked("friend", "nics.eth0.network=lan", "nics.eth0.addresses=10.55.0.7")
    web = nicked(
        "web",
        "nics.eth0.network=lan",
        "nics.eth0.addresses=10.55.0.2",
        "nics.eth0.rules=allow in from friend; deny in",
    )
    other = nicked("other", "nics.eth0.network=lan", "nics.eth0.addresses=10.55.0.8")
    with netlab.serving(web):
        assert netlab.asks(friend, "10.55.0.2") == "10.55.0.7"
        assert netlab.cannot_reach(other, "10.55.0.2")
        friend.set("nics.eth0.addresses=10.55.0.9")
        assert netlab.asks(friend, "10.55.0.2") == "10.55.0.9"
        friend.delete(force=True)
        other.set("nics.eth0.addresses=10.55.0.9")
        assert netlab.cannot_reach(other, "10.55.0.2")  # under the address of who is gone
        other.stop()
        other.rename("friend")
        other.start()
        assert netlab.asks(other, "10.55.0.2") == "10.55.0.9"
        other.set("nics.eth0.addresses=10.55.0.10", scope="next-start")
        assert netlab.asks(other, "10.55.0.2") == "10.55.0.9"
        other.restart()
        assert netlab.asks(other, "10.55.0.2") == "10.55.0.10"


def test_rules_of_a_network_follow_whom_they_name(nicked: Nicked, engine: Engine) -> None:
    """Without a word to its dnsmasq."""
    friend = nicked("friend")
    engine.networks.create("lan", ["ipv4=10.55.0.1/24", "rules=deny out to friend"])
    web = nicked("web", "nics.eth0.network=lan")
    served = netlab.daemons()
    with netlab.serving(friend):
        assert netlab.cannot_reach(web, netlab.address(friend))
        was = netlab.address(friend)
        friend.set("nics.eth0.addresses=" + was.rpartition(".")[0] + (".77" if not was.endswith(".77") else ".78"))
        assert netlab.address(friend) != was
        assert netlab.cannot_reach(web, netlab.address(friend))
        assert f"daddr {was} " not in netlab.rule_texts()
        engine.networks.set("lan", "rules=")
        assert "E" not in netlab.asks(web, netlab.address(friend))
    friend.delete(force=True)
    assert netlab.daemons() == served


def test_rules_and_isolation_of_a_network_on_a_bridge_of_the_host_change_live(
    nicked: Nicked, engine: Engine, lab: netlab.Lab
) -> None:
    lab.host.do("ip link add br9 up type bridge; ip address add 10.66.0.1/24 dev br9")
    try:
        engine.networks.create("lan", ["parent=br9"])
        web, db = (
            nicked(name, "nics.eth0.network=lan", f"nics.eth0.addresses=10.66.0.{n}/24")
            for name, n in (("web", 2), ("db", 3))
        )
        with netlab.serving(web), netlab.talking(HERE, "talk", "10.66.0.2", "80", "2500") as talk:
            assert netlab.asks(db, "10.66.0.2") == "10.66.0.3"
            engine.networks.set("lan", "rules=deny in from db")
            assert netlab.cannot_reach(db, "10.66.0.2")
            db.set("nics.eth0.addresses=10.66.0.4/24")
            assert netlab.cannot_reach(db, "10.66.0.2")
            engine.networks.set("lan", "rules=")
            assert netlab.asks(db, "10.66.0.2") == "10.66.0.4"
            engine.networks.set("lan", "isolated=true")
            assert netlab.cannot_reach(db, "10.66.0.2")
            engine.networks.set("lan", "isolated=false")
            assert netlab.asks(db, "10.66.0.2") == "10.66.0.4"
            count, longest_ms = map(int, talk.rest().split())
        assert count > 100
        assert longest_ms < patient(1000)
        web.delete(force=True)
        db.delete(force=True)
        engine.networks.delete("lan")
    finally:
        lab.host.do("ip link del br9")


def test_rules_change_live(nicked: Nicked) -> None:
    web, db = nicked("web"), nicked("db")
    own = netlab.address(web)
    with netlab.serving(web):
        assert "E" not in netlab.asks(db, own)
        web.set("nics.eth0.rules=deny in tcp 80")
        assert netlab.cannot_reach(db, own)
        web.set("nics.eth0.rules=")
        assert "E" not in netlab.asks(db, own)


def test_rules_of_a_network_and_of_the_host(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("lan", [f"rules=deny out tcp 80 to {netlab.FAR4}; deny out tcp 22"])
    web, db = nicked("web", "nics.eth0.network=lan"), nicked("db", "nics.eth0.network=lan")
    with netlab.serving(outside), netlab.serving(outside, 81), netlab.serving(HERE, 22), netlab.serving(db):
        assert netlab.cannot_reach(web, netlab.FAR4)
        assert netlab.asks(web, netlab.FAR4, 81) == netlab.HOST4
        assert netlab.cannot_reach(web, netlab.address(HERE, netlab.bridge_of(web)), 22)
        assert "E" not in netlab.asks(web, netlab.address(db))


def test_rules_of_a_network_hold_against_another_network(nicked: Nicked, engine: Engine) -> None:
    """What one network lets out, by a rule or for want of one, the other has its say about."""
    engine.networks.create("lan", ["rules=deny in tcp 81"])
    engine.networks.create("far", ["rules=allow out tcp"])
    web, db = nicked("web", "nics.eth0.network=lan"), nicked("db", "nics.eth0.network=far")
    routed = nicked("routed", "nics.eth0.type=routed", "nics.eth0.network=lan")
    with netlab.serving(web), netlab.serving(web, 81), netlab.serving(routed), netlab.serving(routed, 81):
        for family in (4, 6):
            for target in (web, routed):
                assert netlab.asks(db, netlab.address(target, family=family)) == netlab.address(db, family=family)
                assert netlab.cannot_reach(db, netlab.address(target, family=family), 81)
                assert netlab.cannot_reach(HERE, netlab.address(target, family=family), 81)
            engine.networks.set("far", "rules=" if family == 4 else "rules=allow out")


def test_foreign_rules_are_never_touched(nicked: Nicked, lab: netlab.Lab) -> None:
    lab.host.do("nft add table inet mine; nft add chain inet mine c; nft add rule inet mine c tcp dport 1 counter drop")
    try:
        before = [each for each in netlab.rules() if '"mine"' in each]
        web = nicked("web", "nics.eth0.rules=deny in tcp 81", "ports.8080/tcp=80")
        web.set("ports.8081/tcp=81")
        web.delete(force=True)
        assert [each for each in netlab.rules() if '"mine"' in each] == before
    finally:
        lab.host.do("nft delete table inet mine")


@pytest.mark.guest
def test_a_host_needs_no_etc_protocols(nicked: Nicked, lab: netlab.Lab) -> None:
    """nft looks up there what it does not know by itself; a small host has no such file."""
    lab.host.do("test ! -e /etc/protocols || mount --bind /dev/null /etc/protocols")
    try:
        config = ("nics.eth0.security.ip_filter=true", "nics.eth0.security.mac_filter=true", "ports.8080/tcp=80")
        web = nicked("web", "nics.eth0.rules=allow in udp 80; deny in icmp; deny out icmp; deny in tcp 81", *config)
        db = nicked("db")
        with netlab.serving(web), netlab.serving(web, 81), netlab.serving(web, 80, "udp"):
            assert "E" not in netlab.asks(db, netlab.address(web), 80)
            assert "E" not in netlab.asks(db, netlab.address(web), 80, "udp")
            assert netlab.cannot_reach(db, netlab.address(web), 81)
        assert web.exec(["ping", "-c1", "-W1", netlab.address(db)]).code != 0
    finally:
        lab.host.do("umount /etc/protocols || test ! -e /etc/protocols")


# --- spoofing --------------------------------------------------------------------------------------------------------


class Trio:
    """Somebody who may try, whom it tries to fool, and whom it would like to be."""

    def __init__(self, nicked: Nicked, *config: str) -> None:
        self.rogue = nicked("rogue", "nics.eth0.type=bridged", *config)
        self.victim, self.other = nicked("victim"), nicked("other")
        self.mac = str(netlab.link(self.rogue, "eth0")["address"])
        self.victim_mac = str(netlab.link(self.victim, "eth0")["address"])
        self.other_mac = str(netlab.link(self.other, "eth0")["address"])

    def ip(self, who: Instance, family: int = 4) -> str:
        return netlab.address(who, family=family)

    def gets_through(self, frame: str, mark: bytes) -> bool:
        """Whether the victim sees a frame of the rogue's with `mark` in it, before an honest one that comes behind."""
        honest = netlab.udp4(self.mac, self.victim_mac, self.ip(self.rogue), self.ip(self.victim), b"honest")
        with netlab.frames(self.victim, "eth0", last=b"honest") as seen:
            for each in (frame, honest):
                assert netlab.said(self.rogue, "frame", "eth0", each) == "ok"
        return any(mark in each for each in seen)

    def frames(self) -> dict[str, tuple[str, bytes]]:
        """What it tries: each with what the victim would know it by."""
        mine, theirs, other = self.ip(self.rogue), self.ip(self.victim), self.ip(self.other)
        mine6, theirs6, other6 = (self.ip(each, 6) for each in (self.rogue, self.victim, self.other))
        mine_raw, other_raw = (bytes.fromhex(each.replace(":", "")) for each in (self.mac, self.other_mac))
        return {
            "mac": (netlab.udp4(self.other_mac, self.victim_mac, mine, theirs, b"as-mac"), b"as-mac"),
            "arp mac": (
                netlab.arp(self.other_mac, mine, theirs, source=self.mac),
                b"\x00\x01" + other_raw + socket.inet_aton(mine),
            ),
            "nd mac": (
                netlab.advertisement(self.mac, self.victim_mac, mine6, theirs6, mine6, self.other_mac),
                socket.inet_pton(socket.AF_INET6, mine6) + b"\x02\x01" + other_raw,
            ),
            "ip": (netlab.udp4(self.mac, self.victim_mac, other, theirs, b"as-ip"), b"as-ip"),
            "ip6": (netlab.udp6(self.mac, self.victim_mac, other6, theirs6, b"as-ip6"), b"as-ip6"),
            "arp ip": (
                netlab.arp(self.mac, other, theirs, to=self.victim_mac, reply=True),
                b"\x00\x02" + mine_raw + socket.inet_aton(other),
            ),
            "nd ip": (
                netlab.advertisement(self.mac, self.victim_mac, mine6, theirs6, other6, self.mac),
                socket.inet_pton(socket.AF_INET6, other6) + b"\x02\x01" + mine_raw,
            ),
        }


OF_MACS = {"mac", "arp mac", "nd mac"}


@pytest.mark.guest
@pytest.mark.parametrize(
    ("key", "stopped"),
    [("", set()), ("mac_filter", OF_MACS), ("ip_filter", {"mac", "arp mac", "nd mac", "ip", "ip6", "arp ip", "nd ip"})],
)
def test_spoofing(key: str, stopped: set[str], nicked: Nicked) -> None:
    """Without a filter everything of it gets through, so what is stopped is stopped by the filter."""
    trio = Trio(nicked, *([f"nics.eth0.security.{key}=true"] if key else []))
    through = {what for what, (frame, mark) in trio.frames().items() if trio.gets_through(frame, mark)}
    assert set(trio.frames()) - through == stopped
    if not key:
        return  # the victim believes it all by now
    # And what is honest passes, in both families.
    with netlab.serving(trio.victim), netlab.serving(trio.rogue, 81):
        for family in (4, 6):
            own, theirs = trio.ip(trio.rogue, family), trio.ip(trio.victim, family)
            assert netlab.asks(trio.rogue, theirs) == own
            assert netlab.asks(trio.victim, own, 81) == theirs


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("is_filtered", [False, True])
def test_spoofing_where_there_is_no_bridge(is_filtered: bool, nicked: Nicked, outside: World) -> None:  # noqa: FBT001
    """Without a filter the host sends on what a routed one sends under any address."""
    config = ("nics.eth0.type=routed", f"nics.eth0.parent={netlab.UPLINK}")
    rogue = nicked(
        "rogue",
        *config,
        "nics.eth0.addresses=203.0.113.56/32,2001:db8::56/128",
        f"nics.eth0.security.ip_filter={str(is_filtered).lower()}",
    )
    mac = str(netlab.link(rogue, "eth0")["address"])
    theirs = f"fe{mac[2:]}"  # the host's end
    own = [
        netlab.udp4(mac, theirs, "203.0.113.56", netlab.OUTSIDE4, b"own-four"),
        netlab.udp6(mac, theirs, "2001:db8::56", netlab.OUTSIDE6, b"own-six"),
    ]
    false = [
        netlab.udp4(mac, theirs, "203.0.113.57", netlab.OUTSIDE4, b"not-four"),
        netlab.udp6(mac, theirs, "2001:db8::57", netlab.OUTSIDE6, b"not-six"),
        netlab.udp4("02:00:00:00:00:09", theirs, "203.0.113.56", netlab.OUTSIDE4, b"not-mac"),
    ]
    last = netlab.udp4(mac, theirs, "203.0.113.56", netlab.OUTSIDE4, b"the-last")
    with netlab.frames(outside, netlab.UPLINK, last=b"the-last") as seen:
        for frame in (*own, *false, last):
            assert netlab.said(rogue, "frame", "eth0", frame) == "ok"
    found = {mark for mark in (b"own-four", b"own-six", b"not-four", b"not-six", b"not-mac") if mark in b"".join(seen)}
    assert found == {b"own-four", b"own-six"} | (set() if is_filtered else {b"not-four", b"not-six", b"not-mac"})


# --- rates -----------------------------------------------------------------------------------------------------------


def rate_of(web: Instance, key: str, protocol: str, send_bps: int, span_ms: int) -> float:
    """What arrives of what is sent in the direction that `limits.KEY` is about."""
    if key == "ingress":
        return netlab.rate_bps(HERE, web, netlab.address(web), protocol, send_bps, span_ms)
    bridge = netlab.address(HERE, netlab.bridge_of(web))
    return netlab.rate_bps(web, HERE, bridge, protocol, send_bps, span_ms)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("key", ["ingress", "egress"])
def test_rates_hold_within_15_percent(key: str, protocol: str, nicked: Nicked) -> None:
    """From the first moment on: a rest saves nothing up. A gigabit of datagrams is more than two processors make."""
    web = nicked("web", f"nics.eth0.limits.{key}=1Mbit")
    for megabits in (1, 10, 100, 1000) if protocol == "tcp" else (1, 10, 100):
        limit = megabits * MBIT
        web.set(f"nics.eth0.limits.{key}={megabits}Mbit")
        found = rate_of(web, key, protocol, 0 if protocol == "tcp" else 2 * limit, 3000)
        assert 0.85 * limit <= found <= 1.15 * limit, (megabits, found)


def holds(measure: Callable[[], float], least: float, most: float) -> bool:
    """Whether a rate is within bounds, at one of three times: a receiver that a busy machine keeps waiting then reads
    at once what has piled up, and a rate that is not held is not held any time."""
    return any(least <= measure() <= most for _ in range(3))


@pytest.mark.parametrize("key", ["ingress", "egress"])
def test_after_a_rest_nothing_is_faster(key: str, nicked: Nicked) -> None:
    """A bucket that fills for a second would let all of this pass at once."""
    web = nicked("web", f"nics.eth0.limits.{key}=10Mbit")

    def rested() -> float:
        time.sleep(1.2)
        return rate_of(web, key, "udp", 40 * MBIT, 500)

    assert holds(rested, 0, 1.15 * 10 * MBIT)


def test_a_rate_comes_and_goes_live_without_the_nic(nicked: Nicked) -> None:
    """The same interface stays, and no queue is left behind."""
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth0.limits.ingress=10Mbit")
    index, links = netlab.link(web, "eth0")["ifindex"], netlab.link_names(HERE)
    for megabits in (20, 5):
        web.set(f"nics.eth0.limits.egress={megabits}Mbit", "nics.eth0.limits.ingress=")
        (queue,) = netlab.link_names(HERE) - links
        (rate,) = netlab.told("tc", "-json", "qdisc", "show", "dev", queue)
        assert rate["options"]["rate"] == megabits * MBIT // 8
    assert holds(lambda: rate_of(web, "egress", "udp", 40 * MBIT, 500), 0, 1.15 * 5 * MBIT)
    web.set("nics.eth0.limits.egress=")
    assert netlab.link_names(HERE) == links
    assert rate_of(web, "egress", "tcp", 0, 500) > 100 * MBIT
    assert netlab.link(web, "eth0")["ifindex"] == index
    web.set("nics.eth0.limits.egress=1Mbit")
    web.stop()
    assert {each for each in netlab.link_names(HERE) if each[0] in "vq"} == set()


def test_the_other_direction_is_not_limited_and_a_limit_changes_live(nicked: Nicked) -> None:
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth0.limits.ingress=10Mbit")
    bridge = netlab.address(HERE, netlab.bridge_of(web))
    assert netlab.rate_bps(web, HERE, bridge, "tcp", span_ms=600) > 100 * MBIT
    web.set("nics.eth0.limits.ingress=80Mbit")
    assert holds(lambda: rate_of(web, "ingress", "tcp", 0, 1000), 60 * MBIT, 95 * MBIT)
    web.set("nics.eth0.limits.ingress=")
    assert netlab.rate_bps(HERE, web, netlab.address(web), "tcp", span_ms=600) > 100 * MBIT


# --- explained -------------------------------------------------------------------------------------------------------


def test_a_plan_shows_every_rule_before_it_is_there(nicked: Nicked, engine: Engine) -> None:
    """In the words in which nft lists them afterwards, those of the network and those of the nic."""
    engine.networks.create("lan", ["ipv4=10.55.0.1/24", "ipv6=none", "rules=deny out tcp 25"])
    made = engine.create(
        "busybox",
        "web",
        config=(
            *INIT,
            "nics.eth0.network=lan",
            "nics.eth0.rules=deny in tcp 81",
            "nics.eth0.limits.egress=1Mbit",
            "nics.eth0.security.mac_filter=true",
            "ports.8080/tcp=80",
        ),
    )
    (network,) = explaining.networks(engine, made)
    shown = explaining.text(network) + explaining.text(made.explain())
    assert "nftables" not in shown  # no JSON
    assert "clo-" not in netlab.rule_texts()  # nor is anything done
    made.start()
    said = [
        line.rpartition(' comment "')[2].rstrip('"') for line in netlab.rule_texts().splitlines() if "comment" in line
    ]
    assert {"deny out tcp 25", "deny in tcp 81", "limits.egress", "security.mac_filter", "8080/tcp=80"} <= set(said)
    for comment in said:
        assert f'comment "{comment}"' in shown
