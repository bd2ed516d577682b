"""The commands about nics and ports: how their words become calls, and what they answer."""

import json
from collections.abc import Callable

import pytest

from cloison.base.errors import NotFound
from cloison.engine.nics import PortInfo
from cloison.engine.results import Change

from .conftest import FakeEngine, Said

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
    assert options == {"config": settings, "options": {}, "progress": options["progress"]}  # type: ignore[index]


def test_a_port_without_the_one_inside_is_refused(cloison: Cloison, engine: FakeEngine) -> None:
    said = cloison("create busybox web -p 8080")
    assert said.code == 2
    assert "'8080' says no port of the host and one inside" in said.err
    assert engine.calls == []
