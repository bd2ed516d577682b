"""The commands about nics and ports: how their words become calls, and what they answer."""

import json
from collections.abc import Callable

import msgspec
import pytest

from cloison.base.errors import NotFound
from cloison.cli.network_portrait import kind, portrait
from cloison.cli.portrait import portrait as portrait_of_instance
from cloison.engine.nics import PortInfo
from cloison.engine.results import Change, FirewallInfo, NetworkInfo, NicInfo

from .conftest import LAN, RUNNING, FakeEngine, Said

Cloison = Callable[[str], Said]
PORTS = (
    PortInfo("web", "8080/tcp", "80", "", True, True),
    PortInfo("web", "9000-9010/udp", "9000-9010", "eth1", False, True),
    PortInfo("web", "[2001:db8::1]:53/udp", "53", "", True, False),
)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("nic add web eth1", ("nics.add", "web", "eth1", {"scope": "both"})),
        ("nic add --live web eth1 network=lan", ("nics.add", "web", "eth1", "network=lan", {"scope": "live"})),
        (
            "nic add web card type=phys parent=enp2s0 --force",
            ("nics.add", "web", "card", "type=phys", "parent=enp2s0", "force=true", {"scope": "both"}),
        ),
        ("nic set web eth0 mtu=1400", ("nics.set", "web", "eth0", "mtu=1400", {"scope": "both"})),
        ("nic remove web eth0 --next-start", ("nics.remove", "web", "eth0", {"scope": "next-start"})),
        ("port add web 8080:80 53:53/udp", ("ports.add", "web", "8080:80", "53:53/udp", {"nic": "", "scope": "both"})),
        ("port add web 80:80 --nic eth1", ("ports.add", "web", "80:80", {"nic": "eth1", "scope": "both"})),
        ("port remove web 8080/tcp", ("ports.remove", "web", "8080/tcp", {"scope": "both"})),
    ],
)
def test_the_words_become_one_call(cloison: Cloison, engine: FakeEngine, line: str, call: tuple[object, ...]) -> None:
    said = cloison(line)
    assert (said.code, said.out, said.err) == (0, "", "")
    assert engine.calls == [call]


def test_what_waits_for_the_next_start_is_said(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["nics.add"] = Change((), ("nics.eth1.type",))
    assert cloison("nic add web eth1").out == "at the next start of web: nics.eth1.type\n"
    assert cloison("-q nic add web eth1").out == ""


@pytest.mark.parametrize(
    "words", ["nic add web eth1", "nic set web eth0 mtu=", "nic remove web eth0", "port add web 1:1"]
)
def test_live_and_next_start_exclude_each_other(cloison: Cloison, engine: FakeEngine, words: str) -> None:
    said = cloison(f"{words} --live --next-start")
    assert said.code == 2
    assert "exclude each other" in said.err
    assert engine.calls == []


def test_ports_are_listed_with_when_they_are_open(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["ports.list"] = PORTS
    assert cloison("port ls web").out.splitlines() == [
        "HOST                  INSTANCE  INSIDE     NIC   WHEN",
        "8080/tcp              web       80         -     now",
        "9000-9010/udp         web       9000-9010  eth1  until it stops",
        "[2001:db8::1]:53/udp  web       53         -     when it runs",
    ]
    assert json.loads(cloison("port ls web --json").out)[1] == {
        "instance": "web",
        "host": "9000-9010/udp",
        "inside": "9000-9010",
        "nic": "eth1",
        "stored": False,
        "in_force": True,
    }


def test_without_names_the_ports_of_all_are_listed(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["ports.list"] = ()
    cloison("port ls")
    assert [call[:2] for call in engine.calls] == [("ports.list", "db"), ("ports.list", "web")]


def test_one_that_is_missing_does_not_keep_the_others_from_the_list(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["ports.list"] = PORTS
    said = cloison("port ls nobody web")
    assert said.code == NotFound.exit_code
    assert "8080/tcp" in said.out


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("--network host", ("nics.eth0.type=host",)),
        ("--network empty", ("nics.eth0.type=empty",)),
        ("--network none", ("nics.eth0.type=none",)),
        ("--network lan", ("nics.eth0.network=lan",)),
        ("-p 8080:80 -p 192.0.2.1:53:53/udp", ("ports.8080/tcp=80", "ports.192.0.2.1:53/udp=53")),
    ],
)
def test_create_takes_a_network_and_ports(
    cloison: Cloison, engine: FakeEngine, words: str, settings: tuple[str, ...]
) -> None:
    assert cloison(f"create busybox web {words}").code == 0
    [(*_, options)] = engine.calls
    expected = {"config": settings, "options": {}, "storage": "default", "progress": options["progress"]}  # type: ignore[index]
    assert options == expected


def test_a_port_without_the_one_inside_is_refused(cloison: Cloison, engine: FakeEngine) -> None:
    said = cloison("create busybox web -p 8080")
    assert said.code == 2
    assert "'8080' says no port of the host and one inside" in said.err
    assert engine.calls == []


# --- what nics are and do --------------------------------------------------------------------------------------------

NICS = (
    NicInfo(
        "web",
        "eth0",
        "bridged",
        "lan",
        "",
        "02:c1:05:01:02:03",
        1500,
        ("10.9.0.2/24",),
        stored=True,
        in_force=True,
        received_bytes=2048,
        sent_bytes=0,
    ),
    NicInfo("web", "eth1", "macvlan", "", "eno1", None, None, (), stored=True, in_force=False),
    NicInfo("web", "eth2", "p2p", "", "", None, None, (), stored=False, in_force=True),
)


def test_nics_are_listed_with_what_they_have_moved(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["nics.list"] = NICS
    assert cloison("nic ls web").out.splitlines() == [
        "INSTANCE  NIC   TYPE     ON    MAC                ADDRESSES    RECEIVED  SENT  WHEN",
        "web       eth0  bridged  lan   02:c1:05:01:02:03  10.9.0.2/24  2K        0     now",
        "web       eth1  macvlan  eno1  -                  -            -         -     when it runs",
        "web       eth2  p2p      -     -                  -            -         -     until it stops",
    ]
    assert json.loads(cloison("nic ls web --json").out)[0]["received_bytes"] == 2048


def test_the_portrait_of_an_instance_has_its_nics() -> None:
    shown = portrait_of_instance(msgspec.structs.replace(RUNNING, nics=NICS))
    assert "eth0       bridged on lan, 02:c1:05:01:02:03, 10.9.0.2/24\n" in shown
    assert "eth1       macvlan on eno1, from the next start on\n" in shown
    assert "eth2       p2p, until it stops\n" in shown


def test_what_is_stopped_has_all_its_nics_from_the_next_start_on_and_none_says_so() -> None:
    shown = portrait_of_instance(msgspec.structs.replace(RUNNING, pid=0, nics=NICS[1:2]))
    assert "eth1       macvlan on eno1\n" in shown


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("network create lab nat=false", ("networks.create", "lab", ("nat=false",))),
        ("network create lab", ("networks.create", "lab", ())),
        ("network set lan nat=false mtu=", ("networks.set", "lan", "nat=false", "mtu=")),
        ("network delete lan", ("networks.delete", "lan")),
    ],
)
def test_the_words_about_networks_become_one_call(
    cloison: Cloison, engine: FakeEngine, line: str, call: tuple[object, ...]
) -> None:
    said = cloison(line)
    assert (said.code, said.out, said.err) == (0, "", "")
    assert engine.calls == [call]


def test_one_network_that_is_missing_does_not_keep_the_others_from_deletion(
    cloison: Cloison, engine: FakeEngine
) -> None:
    said = cloison("network delete nope lan")
    assert said.code == NotFound.exit_code
    assert engine.calls == [("networks.delete", "lan")]


def test_networks_are_listed(cloison: Cloison) -> None:
    assert cloison("network ls").out.splitlines() == [
        "NAME  STATE  KIND           INTERFACE  IPV4         IPV6          INSTANCES",
        "lan   up     NAT, isolated  lan        10.9.0.1/24  fd00:9::1/64  1",
    ]
    assert json.loads(cloison("network ls --json").out)[0]["members"][0]["nic"] == "eth0"


def test_the_portrait_of_a_network_has_who_is_on_it_its_leases_and_rules(cloison: Cloison) -> None:
    assert (
        cloison("network info lan").out
        == """\
lan
  state           up
  kind            NAT, isolated
  interface       lan
  IPv4            10.9.0.1/24
  IPv6            fd00:9::1/64
  created         2026-01-02T03:04:05Z
  names, leases   served by dnsmasq
  received, sent  2K, 1M

Options
  ipv4      10.9.0.1/24
  isolated  true

Attached
  INSTANCE  NIC   MAC                ADDRESSES            STATE
  web       eth0  02:c1:05:01:02:03  10.9.0.2, fd00:9::2  running

Leases
  ADDRESS   MAC                NAME  EXPIRES
  10.9.0.2  02:c1:05:01:02:03  web   2026-01-02T04:04:05Z

Rules
  CHAIN     PACKETS  SIZE  RULE
  from_lan  3        252   oifname "lan" drop
  nat_lan   -        -     masquerade
"""
    )


def test_a_firewall_in_its_way_is_named_with_what_would_help() -> None:
    firewall = FirewallInfo("inet filter forward", "forward", ("nft insert rule a", "nft insert rule b"))
    assert portrait(msgspec.structs.replace(LAN, in_the_way=(firewall,))).endswith("""
In its way
  inet filter forward  drops at forward; what would help:
                       nft insert rule a
                       nft insert rule b
""")


def test_of_a_network_that_is_down_there_is_little_to_tell() -> None:
    down = NetworkInfo("lab", "lab", "", "", False, {}, "2026-01-02T03:04:05Z", ())
    assert portrait(down).splitlines()[1:] == [
        "  state      down: it comes up with the first instance on it",
        "  kind       NAT",
        "  interface  lab",
        "  IPv4       none",
        "  IPv6       none",
        "  created    2026-01-02T03:04:05Z",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "NAT"),
        ({"nat": "false"}, "routed"),
        ({"internal": "true"}, "internal"),
        ({"internal": "true", "isolated": "true"}, "internal, isolated"),
        ({"parent": "br0"}, "on br0"),
        ({"parent": "eno1", "vlan": "100"}, "on eno1, VLAN 100"),
    ],
)
def test_the_kind_of_a_network_in_a_word(options: dict[str, str], words: str) -> None:
    assert kind(msgspec.structs.replace(LAN, options=options)) == words
