"""What a network does for its instances: addresses, leases, names, the way outside, and the files about it inside."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cloison import Engine, Instance
from cloison.base.errors import Busy, CloisonError, Exists, Invalid, NotFound
from tests.integration.conftest import Cli, eventually, init_of, inside
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE, World

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


# --- networks --------------------------------------------------------------------------------------------------------


def test_the_default_network_collides_with_nothing(nicked: Nicked, lab: netlab.Lab) -> None:
    """A subnet that the host has a route to is left alone, however likely it would have been chosen."""
    lab.host.do("ip route add 10.0.0.0/9 via 203.0.113.1; ip route add 10.128.0.0/10 via 203.0.113.1")
    try:
        own = netlab.address(nicked(), "eth0")
        first, second = map(int, own.split(".")[:2])
        assert (first, second >= 192) == (10, True)
    finally:
        lab.host.do("ip route del 10.0.0.0/9; ip route del 10.128.0.0/10")


@pytest.mark.guest
def test_everything_of_a_network_goes_with_it(nicked: Nicked, engine: Engine) -> None:
    before = netlab.state()
    web = nicked()
    assert len(netlab.daemons()) == 1
    assert netlab.state()["rules"] != before["rules"]
    with pytest.raises(Busy, match="web"):
        engine.networks.delete("cloison0")
    web.delete(force=True)
    engine.networks.delete("cloison0")
    assert netlab.difference(before, netlab.state()) == {}


def test_internal_has_no_outside(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("back", ["internal=true"])
    web, db = nicked("web", "nics.eth0.network=back"), nicked("db", "nics.eth0.network=back")
    with netlab.serving(outside), netlab.serving(db), netlab.serving(HERE):
        assert netlab.asks(web, netlab.address(db)) == netlab.address(web)
        assert netlab.cannot_reach(web, netlab.FAR4)
        gateway = netlab.address(HERE, netlab.bridge_of(web))
        inside(web, "ip", "route", "add", "default", "via", gateway)
        assert netlab.cannot_reach(web, netlab.FAR4)  # nor with a route of its own making
        assert netlab.cannot_reach(web, netlab.OUTSIDE4)


@pytest.mark.parametrize("how", ["start", "repair"])
def test_a_bridge_that_somebody_deletes_comes_back_with_its_ports(
    how: str, nicked: Nicked, engine: Engine, lab: netlab.Lab
) -> None:
    engine.networks.create("lan", ["isolated=true"])
    web = nicked("web", "nics.eth0.network=lan")
    bridge = netlab.bridge_of(web)
    lab.host.do(f"ip link delete {bridge}")
    if how == "repair":
        engine.repair()
    else:
        nicked("db", "nics.eth0.network=lan")
    assert netlab.bridge_of(web) == bridge
    end = netlab.link(HERE, f"v{web.id[:8]}n0")
    assert end["linkinfo"]["info_slave_data"]["isolated"] is True
    with netlab.serving(web):
        assert "E" not in netlab.asks(HERE, netlab.address(web))


def test_what_becomes_internal_gives_forwarding_back(nicked: Nicked, engine: Engine) -> None:
    before = netlab.switches()
    engine.networks.create("back", ["internal=true"])
    nicked("web", "nics.eth0.network=back")
    internal = {path: value for path, value in netlab.switches().items() if path in before}
    assert internal == before
    engine.networks.set("back", "internal=false")
    assert {path: value for path, value in netlab.switches().items() if path in before} != before
    engine.networks.set("back", "internal=true")
    assert {path: value for path, value in netlab.switches().items() if path in before} == before


def test_what_is_no_way_outside_any_more_forwards_no_more(nicked: Nicked, engine: Engine, lab: netlab.Lab) -> None:
    lab.host.do("ip link add other0 type veth peer name other1; ip address add 203.0.112.2/24 dev other0")
    lab.host.do("ip link set other0 up; ip link set other1 up; ip address add 2001:db8:2::2/64 dev other0 nodad")

    def switches() -> dict[str, str]:
        return {path: value for path, value in netlab.switches().items() if "/other0/" in path}

    try:
        before = switches()
        nicked("web")
        assert switches() != before
        lab.host.do("ip address del 203.0.112.2/24 dev other0; ip address del 2001:db8:2::2/64 dev other0")
        engine.networks.set("cloison0", "mtu=1400")
        assert switches() == before
    finally:
        lab.host.do("ip link delete other0")


def test_internal_has_no_outside_for_what_is_routed_either(nicked: Nicked, engine: Engine, outside: World) -> None:
    """It has a default route by its nature, and is no port of the bridge."""
    engine.networks.create("back", ["internal=true"])
    routed = ("nics.eth0.type=routed", "nics.eth0.network=back")
    web, db, other = nicked("web", *routed), nicked("db", *routed), nicked("other")
    with netlab.serving(outside), netlab.serving(web), netlab.serving(other), netlab.serving(HERE):
        for family, far in ((4, netlab.FAR4), (6, netlab.FAR6)):
            assert netlab.cannot_reach(web, far)
            assert netlab.cannot_reach(web, netlab.address(other, family=family))
            assert netlab.cannot_reach(other, netlab.address(web, family=family))
            assert netlab.asks(db, netlab.address(web, family=family)) == netlab.address(db, family=family)


def test_isolated_ones_do_not_see_each_other_though_they_are_routed(
    nicked: Nicked, engine: Engine, outside: World
) -> None:
    engine.networks.create("apart", ["isolated=true"])
    routed = ("nics.eth0.type=routed", "nics.eth0.network=apart")
    web, db, other = nicked("web", *routed), nicked("db", *routed), nicked("other", "nics.eth0.network=apart")
    with netlab.serving(outside), netlab.serving(web), netlab.serving(other):
        for family, far in ((4, netlab.FAR4), (6, netlab.FAR6)):
            assert netlab.cannot_reach(db, netlab.address(web, family=family))
            assert netlab.cannot_reach(db, netlab.address(other, family=family))
            assert netlab.cannot_reach(other, netlab.address(web, family=family))
            assert "E" not in netlab.asks(db, far)
        engine.networks.set("apart", "isolated=false")
        assert netlab.asks(db, netlab.address(web)) == netlab.address(db)


def test_isolated_instances_do_not_see_each_other(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("apart", ["isolated=true"])
    web, db = nicked("web", "nics.eth0.network=apart"), nicked("db", "nics.eth0.network=apart")
    mac = netlab.link(web, "eth0")["address"]
    with netlab.serving(db), netlab.serving(outside):
        assert netlab.cannot_reach(web, netlab.address(db))
        assert netlab.cannot_reach(web, netlab.address(db, family=6))
        assert netlab.asks(web, netlab.FAR4) == netlab.HOST4
        with netlab.frames(db, "eth0") as seen:
            netlab.said(web, "frame", "eth0", netlab.arp(mac, netlab.address(web), netlab.address(db)))
        # Nor round the corner, through the host, with the bridge's MAC address under the sibling's IP address.
        bridge = netlab.link(HERE, netlab.bridge_of(web))["address"]
        with netlab.frames(db, "eth0") as round_the_corner:
            frame = netlab.udp4(mac, bridge, netlab.address(web), netlab.address(db))
            assert netlab.said(web, "frame", "eth0", frame) == "ok"
    assert not [each for each in seen if each[6:12].hex(":") == mac]
    assert not [each for each in round_the_corner if b"spoof" in each]


def test_without_nat_the_outside_sees_whose_packet_it_is(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("plain", ["nat=false", "ipv4=10.44.0.1/24", "ipv6=fd44::1/64"])
    web = nicked("web", "nics.eth0.network=plain")
    outside.do(f"ip route add 10.44.0.0/24 via {netlab.HOST4}; ip -6 route add fd44::/64 via {netlab.HOST6}")
    try:
        with netlab.serving(outside), netlab.serving(web):
            for family, far in ((4, netlab.FAR4), (6, netlab.FAR6)):
                assert netlab.asks(web, far) == netlab.address(web, family=family)
                assert netlab.asks(outside, netlab.address(web, family=family)) == (
                    netlab.OUTSIDE4 if family == 4 else netlab.OUTSIDE6
                )
    finally:
        outside.do("ip route del 10.44.0.0/24; ip -6 route del fd44::/64")


@pytest.mark.guest
def test_two_networks_pass_packets_on_to_each_other(nicked: Nicked, engine: Engine) -> None:
    engine.networks.create("other", [])
    web, db = nicked("web"), nicked("db", "nics.eth0.network=other")
    with netlab.serving(db):
        for family in (4, 6):  # each under its own address, so that rules know whose it is
            assert netlab.asks(web, netlab.address(db, family=family)) == netlab.address(web, family=family)


def test_the_mtu_of_a_network_is_that_of_its_nics(nicked: Nicked, engine: Engine) -> None:
    engine.networks.create("small", ["mtu=1380"])
    web = nicked("web", "nics.eth0.network=small")
    assert netlab.link(web, "eth0")["mtu"] == netlab.link(HERE, netlab.bridge_of(web))["mtu"] == 1380


def test_a_network_over_an_interface_shares_that(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("wan", [f"parent={netlab.UPLINK}"])
    web = nicked("web", "nics.eth0.network=wan", "nics.eth0.addresses=203.0.113.90/24")
    with netlab.serving(web):
        assert netlab.asks(outside, "203.0.113.90") == netlab.OUTSIDE4


def test_isolated_over_an_interface(nicked: Nicked, engine: Engine, outside: World) -> None:
    engine.networks.create("wan", [f"parent={netlab.UPLINK}", "isolated=true"])
    web = nicked("web", "nics.eth0.network=wan", "nics.eth0.addresses=203.0.113.93/24")
    db = nicked("db", "nics.eth0.network=wan", "nics.eth0.addresses=203.0.113.94/24")
    with netlab.serving(web):
        assert netlab.asks(outside, "203.0.113.93") == netlab.OUTSIDE4
        assert netlab.cannot_reach(db, "203.0.113.93")
    with pytest.raises(Busy, match="db, web"):
        engine.networks.set("wan", "isolated=false")
    web.delete(force=True)
    db.delete(force=True)
    engine.networks.set("wan", "isolated=false")
    config = ("nics.eth0.network=wan",)
    web, db = nicked("web", *config, "nics.eth0.addresses=203.0.113.95/24"), nicked("db", *config)
    db.set("nics.eth0.addresses=203.0.113.96/24")
    with netlab.serving(web):
        assert netlab.asks(db, "203.0.113.95") == "203.0.113.96"


# --- names and leases ------------------------------------------------------------------------------------------------


@pytest.mark.guest
def test_names_resolve_from_instances_and_host(nicked: Nicked) -> None:
    web, db = nicked("web"), nicked("db")
    bridge = netlab.bridge_of(web)
    for family in (4, 6):
        wanted = [netlab.address(db, family=family)]
        for server in (netlab.address(HERE, bridge), netlab.address(HERE, bridge, 6)):
            assert eventually(lambda s=server, f=family, w=wanted: netlab.resolve(s, "db.cloison", f) == w, 5)  # type: ignore[misc]
    assert netlab.address(db) in inside(web, "nslookup", "db.cloison")
    db.stop()
    assert eventually(lambda: netlab.resolve(netlab.address(HERE, bridge), "db.cloison") == [], 5)


def test_the_files_inside_say_what_is_right(nicked: Nicked) -> None:
    web = nicked()
    assert inside(web, "cat", "/etc/hostname") == "web\n"
    hosts = inside(web, "cat", "/etc/hosts")
    assert "127.0.0.1" in hosts
    assert "web" in hosts
    resolver = inside(web, "cat", "/etc/resolv.conf")
    assert f"nameserver {netlab.address(HERE, netlab.bridge_of(web))}" in resolver
    assert "search cloison" in resolver


def test_what_the_user_wrote_stays(nicked: Nicked) -> None:
    web = nicked()
    written = {
        "/etc/hostname": "mine\n",
        "/etc/hosts": "127.0.0.1 mine\n",
        "/etc/resolv.conf": "nameserver 192.0.2.1\n",
    }
    for path, text in written.items():
        assert web.exec(["sh", "-c", f"cat > {path}"], input=text.encode()).code == 0
    web.stop()
    web.start()
    for path, text in written.items():
        assert inside(web, "cat", path) == text


def test_a_name_server_of_ones_own(nicked: Nicked) -> None:
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth0.dns=192.0.2.53")
    assert "nameserver 192.0.2.53" in inside(web, "cat", "/etc/resolv.conf")


def udhcpc(instance: Instance) -> None:
    """Have BusyBox's client ask once, and do what it is told."""
    script = '[ "$1" = bound ] && ip address add $ip/$mask dev $interface && ip route add default via $router; exit 0'
    written = instance.exec(["sh", "-c", "cat > /dhcp; chmod +x /dhcp"], input=f"#!/bin/sh\n{script}\n".encode())
    assert written.code == 0
    inside(instance, "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-s", "/dhcp")


@pytest.mark.guest
def test_a_client_of_dhcp_gets_the_address_that_is_its_own(nicked: Nicked, outside: World) -> None:
    """With addresses=dhcp nothing is set from outside; BusyBox's client asks, and so is told everything."""
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth0.addresses=dhcp")
    assert [each for each in netlab.addresses(web, "eth0") if ":" not in each] == []
    udhcpc(web)
    reserved = _reserved(web)
    assert netlab.address(web) == reserved
    with netlab.serving(outside):
        assert netlab.asks(web, netlab.FAR4) == netlab.HOST4
    server = netlab.address(HERE, netlab.bridge_of(web))
    assert netlab.resolve(server, "web.cloison") == [reserved]


_SET_WHAT_IS_TOLD = """\
#!/bin/sh
[ "$reason" = BOUND ] && ip address add $new_ip_address/$new_subnet_mask dev $interface
[ "$reason" = BOUND6 ] && ip address add $new_ip6_address/128 dev $interface
exit 0
"""


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.skipif(not shutil.which("dhclient"), reason="dhclient is not installed")
def test_a_lease_is_known_until_it_is_given_back(
    family: int, nicked: Nicked, engine: Engine, root: Path, tmp_path: Path
) -> None:
    """dhclient of the host in the instance's network: what it has, dnsmasq and `network info` have, and no longer."""
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth0.addresses=dhcp")
    script = tmp_path / "script"
    script.write_text(_SET_WHAT_IS_TOLD)
    script.chmod(0o755)
    files = ["-sf", str(script), "-lf", str(tmp_path / "leases"), "-pf", str(tmp_path / "pid")]
    assert eventually(lambda: not netlab.ip(web, "address", "show", "tentative"), 5)  # the link's own of IPv6
    enter = ["nsenter", "--net", "--target", str(init_of(web)), "--"]
    dhclient = [*enter, "dhclient", f"-{family}", *files, "eth0"]
    told = root / "lib/networks/cloison0/leases"
    subprocess.run([*dhclient, "-1"], check=True, stdout=-3, stderr=-3)
    try:
        reserved = _reserved(web, family)
        assert netlab.address(web, family=family) == reserved
        assert [each.address for each in engine.networks.info("cloison0").leases] == [reserved]
        assert f" {reserved} web " in told.read_text()
    finally:
        subprocess.run([*dhclient, "-r"], check=True, stdout=-3, stderr=-3)
    assert eventually(lambda: engine.networks.info("cloison0").leases == (), 5)
    assert reserved not in told.read_text()


def _asked_once(instance: Instance) -> None:
    """BusyBox's client asks, is answered, and never says that it has gone."""
    inside(instance, "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-s", "/bin/true")


def _leased(root: Path) -> dict[str, str]:
    """The MAC address of each address in dnsmasq's own file."""
    lines = (root / "lib/networks/lan/leases").read_text().splitlines()
    return {words[2]: words[1] for words in map(str.split, lines) if words[0].isdecimal()}


LEASED = ("nics.eth0.network=lan", "nics.eth0.addresses=10.43.0.7")


@pytest.fixture
def lan(engine: Engine) -> None:
    engine.networks.create("lan", ["ipv4=10.43.0.1/24", "ipv6=none"])


@pytest.mark.usefixtures("lan")
def test_an_address_goes_to_the_next_one_though_its_last_one_still_has_a_lease(nicked: Nicked, root: Path) -> None:
    """dnsmasq would keep it for who had it; a lease is for an hour."""
    first = nicked("first", *LEASED)
    _asked_once(first)
    assert _leased(root) == {"10.43.0.7": netlab.link(first, "eth0")["address"]}
    first.set("nics.eth0.addresses=10.43.0.8")
    assert "10.43.0.7" in _leased(root)
    second = nicked("second", *LEASED)
    _asked_once(second)
    assert _leased(root) == {"10.43.0.7": netlab.link(second, "eth0")["address"]}
    _asked_once(first)
    assert set(_leased(root)) == {"10.43.0.7", "10.43.0.8"}


@pytest.mark.usefixtures("lan")
def test_a_lease_goes_with_its_instance(nicked: Nicked, root: Path) -> None:
    first = nicked("first", *LEASED)
    _asked_once(first)
    first.delete(force=True)
    assert eventually(lambda: _leased(root) == {}, 5)
    second = nicked("second", *LEASED)  # which is given at once what it had
    _asked_once(second)
    assert _leased(root) == {"10.43.0.7": netlab.link(second, "eth0")["address"]}


@pytest.mark.usefixtures("lan")
def test_repair_gives_back_leases_of_what_does_not_run(nicked: Nicked, root: Path, cli: Cli) -> None:
    first, second = nicked("first", *LEASED), nicked("second", "nics.eth0.network=lan")
    for each in (first, second):
        _asked_once(each)
    assert len(_leased(root)) == 2
    first.kill("KILL")
    first.wait(10)
    assert len(_leased(root)) == 2
    assert cli("repair").returncode == 0
    assert eventually(lambda: set(_leased(root)) == {netlab.address(second)}, 5)


def _reserved(instance: Instance, family: int = 4) -> str:
    """The address that the store has for it."""
    member = instance._engine.networks.info("cloison0").members[0]
    return next(each for each in member.addresses if (":" in each) == (family == 6)).partition("/")[0]


def test_who_is_unknown_gets_no_lease(nicked: Nicked) -> None:
    web = nicked("web", "nics.eth0.type=bridged", "nics.eth0.addresses=dhcp")
    inside(web, "ip", "link", "set", "eth0", "down")
    inside(web, "ip", "link", "set", "eth0", "address", "02:c1:05:00:00:99")
    inside(web, "ip", "link", "set", "eth0", "up")
    done = web.exec(["udhcpc", "-i", "eth0", "-n", "-q", "-t", "2", "-T", "1", "-s", "/bin/true"])
    assert done.code != 0


# --- addresses -------------------------------------------------------------------------------------------------------


def test_an_address_stays_with_its_instance(nicked: Nicked) -> None:
    web = nicked()
    first, mac = netlab.addresses(web, "eth0"), netlab.link(web, "eth0")["address"]
    web.stop()
    nicked("db")
    web.start()
    assert (netlab.addresses(web, "eth0"), netlab.link(web, "eth0")["address"]) == (first, mac)


def test_static_ones_of_both_kinds(nicked: Nicked, engine: Engine) -> None:
    engine.networks.create("lan", ["ipv4=10.41.0.1/24", "ipv6=fd41::1/64"])
    wanted = "10.41.0.7/24,10.41.0.8/24,fd41::7/64"
    web = nicked("web", "nics.eth0.network=lan", f"nics.eth0.addresses={wanted}")
    assert set(wanted.split(",")) <= set(netlab.addresses(web, "eth0"))
    with netlab.serving(web):
        for each in ("10.41.0.7", "10.41.0.8", "fd41::7"):
            assert netlab.asks(HERE, each) in ("10.41.0.1", "fd41::1")


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        (("nics.eth0.network=lan", "nics.eth0.addresses=10.99.0.2/24"), Invalid, "10.99.0.2"),
        (("nics.eth0.network=lan", "nics.eth0.addresses=10.41.0.7/24"), Exists, "taken"),
        (("nics.eth0.type=macvlan", "nics.eth0.parent=eth99"), Invalid, "eth99"),
        (("nics.eth0.type=phys", f"nics.eth0.parent={netlab.UPLINK}"), CloisonError, "default route"),
        (("nics.a-name-of-16-chr.type=bridged",), Invalid, "15"),
        (("nics.eth0.mac=02:c1:05:zz:00:01",), Invalid, "02:c1:05:zz:00:01"),
        (("nics.eth0.mac=01:00:5e:00:00:01",), Invalid, "01:00:5e:00:00:01"),
        (("nics.eth0.network=nowhere",), NotFound, "nowhere"),
        (("nics.eth0.type=bridged", "ports.8080/tcp=80"), CloisonError, "taken"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_bad_input(
    config: tuple[str, ...], error: type[CloisonError], said: str, engine: Engine, nicked: Nicked
) -> None:
    engine.networks.create("lan", ["ipv4=10.41.0.1/24", "ipv6=none"])
    nicked("taken", "nics.eth0.network=lan", "nics.eth0.addresses=10.41.0.7/24", "ports.8080/tcp=80")
    with pytest.raises(error, match=said.replace(".", r"\.")):
        engine.create("busybox", "bad", config=config)
    assert [each.name for each in engine.instances()] == ["taken"]


@pytest.mark.parametrize(
    "subnet", ["ipv4=203.0.113.77/28", "ipv4=10.41.0.129/25", "ipv6=fd41::2/64", "ipv6=2001:db8::9/64"]
)
def test_a_subnet_that_overlaps_is_refused(subnet: str, engine: Engine) -> None:
    engine.networks.create("lan", ["ipv4=10.41.0.1/24", "ipv6=fd41::1/64"])
    with pytest.raises(CloisonError, match=r"overlap|collide|taken|has"):
        engine.networks.create("other", [subnet])


# --- counts ----------------------------------------------------------------------------------------------------------


def test_a_network_counts_what_the_kernel_counts(nicked: Nicked, engine: Engine, outside: World) -> None:
    """Its bytes are those of the bridge, and a rule counts the packets that it was about."""
    engine.networks.create("lan", ["ipv4=10.55.0.1/24", "ipv6=none", f"rules=deny out udp 7 to {netlab.FAR4}"])
    web = nicked("web", "nics.eth0.network=lan")
    bridge = netlab.bridge_of(web)

    def kernel(name: str) -> int:
        return int(Path(f"/sys/class/net/{bridge}/statistics/{name}").read_text())

    def counted() -> tuple[int, int]:
        (rule,) = [
            each
            for each in engine.networks.info("lan").rules
            if "deny out udp 7" in each.text and each.chain == "from_lan"
        ]
        assert rule.packets is not None and rule.bytes is not None
        return rule.packets, rule.bytes

    assert counted() == (0, 0)
    assert netlab.cannot_reach(web, netlab.FAR4, 7, "udp")
    packets, size = counted()
    assert packets >= 1
    assert size >= packets * 28  # IPv4 and UDP headers
    with netlab.serving(outside):
        before = kernel("rx_bytes"), kernel("tx_bytes")
        for _ in range(20):
            netlab.asks(web, netlab.FAR4)
    low = kernel("rx_bytes"), kernel("tx_bytes")
    info = engine.networks.info("lan")
    high = kernel("rx_bytes"), kernel("tx_bytes")
    assert low[0] <= (info.received_bytes or 0) <= high[0]
    assert low[1] <= (info.sent_bytes or 0) <= high[1]
    assert high[0] - before[0] > 20 * 3 * 40  # so many connections have at least as many headers
    assert counted()[0] == packets  # what the rule is not about
    (nic,) = web.nics.list()
    inside = netlab.ip(web, "-s", "link", "show", "eth0")[0]["stats64"]
    assert (nic.received_packets or 0) <= inside["rx"]["packets"]
    assert 20 * 3 <= (nic.sent_packets or 0) <= inside["tx"]["packets"]
