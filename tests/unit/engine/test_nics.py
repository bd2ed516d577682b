"""Nics and ports as wholes: what is added, changed and removed of a configuration, and what stands in the way."""

from collections.abc import Callable
from typing import cast

import pytest

from cloison.base.errors import CloisonError, Exists, Invalid, NotFound
from cloison.engine.instance import Instance
from cloison.engine.nics import Nics, PortInfo, Ports, Words, forwarded
from cloison.engine.results import Change
from cloison.spec.config import Config, assign_all, items


class FakeInstance:
    """One whose configuration changes, and nothing else."""

    name = "web"

    def __init__(self, *stored: str, live: tuple[str, ...] | None = None) -> None:
        self.stored = assign_all(Config(), stored)
        self.live = None if live is None else assign_all(Config(), live)
        self.said: list[str] = []

    def change(self, words: Words, *, scope: str = "both") -> Change:
        assignments = words(tuple(config for config in (self.stored, self.live) if config is not None))
        self.stored = assign_all(self.stored, assignments)
        if self.live is not None:
            self.live = assign_all(self.live, assignments)
        self.said += assignments
        return Change((), tuple(assignments))

    def configs(self) -> tuple[Config, Config | None]:
        return self.stored, self.live

    @property
    def nics(self) -> Nics:
        return Nics(cast(Instance, self))

    @property
    def ports(self) -> Ports:
        return Ports(cast(Instance, self))

    @property
    def is_alike(self) -> bool:
        return self.stored == self.live


def settings(instance: FakeInstance) -> dict[str, str]:
    return dict(items(instance.stored))


def test_a_nic_about_which_nothing_is_said_is_there() -> None:
    web = FakeInstance()
    web.nics.add("eth1")
    assert settings(web) == {"nics.eth1.type": "bridged"}


def test_what_is_said_about_a_nic_goes_before_the_default() -> None:
    web = FakeInstance()
    web.nics.add("lan", "type=macvlan", "parent=eno1", "mode=vepa", "mtu=")
    assert len(web.said) == 3
    assert settings(web) == {"nics.lan.type": "macvlan", "nics.lan.parent": "eno1", "nics.lan.mode": "vepa"}


def test_a_nic_keeps_its_place_when_its_only_key_is_taken_back() -> None:
    web = FakeInstance("nics.eth0.mtu=1400")
    web.nics.set("eth0", "mtu=")
    assert settings(web) == {"nics.eth0.type": "bridged"}


def test_what_is_taken_back_of_a_nic_in_one_of_two_configurations_makes_none_in_the_other() -> None:
    web = FakeInstance("nics.eth0.mtu=1400", live=())
    web.nics.set("eth0", "mtu=")
    assert (settings(web), web.live) == ({"nics.eth0.type": "bridged"}, Config())


def test_taking_the_type_back_leaves_a_bridged_nic() -> None:
    web = FakeInstance("nics.eth0.type=p2p")
    web.nics.set("eth0", "type=")
    assert settings(web) == {"nics.eth0.type": "bridged"}


def test_changing_one_key_leaves_the_others() -> None:
    web = FakeInstance("nics.eth0.type=routed", "nics.eth0.addresses=10.0.0.2")
    web.nics.set("eth0", "mtu=1400")
    assert settings(web) == {
        "nics.eth0.type": "routed",
        "nics.eth0.addresses": "10.0.0.2",
        "nics.eth0.mtu": "1400",
    }


def test_a_nic_is_removed_with_every_key_of_it() -> None:
    web = FakeInstance(
        "nics.eth0.network=lan",
        "nics.eth0.limits.ingress=1Mbit",
        "nics.eth0.rules=deny in",
        "nics.eth1.network=lan",
    )
    web.nics.remove("eth0")
    assert settings(web) == {"nics.eth1.network": "lan"}


def test_a_nic_is_removed_from_what_runs_with_the_keys_that_it_has_there() -> None:
    web = FakeInstance("nics.eth0.mtu=1400", live=("nics.eth0.mtu=1400", "nics.eth0.routes=10.9.0.0/16"))
    web.nics.remove("eth0", scope="both")
    assert (settings(web), web.is_alike) == ({}, True)


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda web: web.nics.add("eth0"), Exists, "nics.eth0: it has such a nic already"),
        (lambda web: web.nics.add("eth1234567890123"), Invalid, "too long"),
        (lambda web: web.nics.add("eth1", "mtu"), Invalid, "is no assignment"),
        (lambda web: web.nics.set("eth1", "mtu=1400"), NotFound, "there is no nic 'eth1': its nics are eth0"),
        (lambda web: web.nics.remove("eth1"), NotFound, "its nics are eth0"),
        (lambda web: web.ports.add("8080:81"), Exists, "ports.8080/tcp=81: it leads to 80 already"),
        (lambda web: web.ports.add("8080"), Invalid, "no port of the host and one inside"),
        (lambda web: web.ports.add("[2001:db8::1]:80"), Invalid, "no port of the host and one inside"),
        (lambda web: web.ports.remove("8081/tcp"), NotFound, "ports.8081/tcp: it is not forwarded"),
        (lambda web: web.ports.remove("8080/udp"), NotFound, "ports.8080/udp: it is not forwarded"),
    ],
)
def test_what_stands_in_the_way_is_said_and_nothing_changes(
    act: Callable[[FakeInstance], object], kind: type[CloisonError], message: str
) -> None:
    web = FakeInstance("nics.eth0.type=bridged", "ports.8080/tcp=80")
    before = web.stored
    with pytest.raises(kind) as caught:
        act(web)
    assert message in str(caught.value)
    assert web.stored == before


@pytest.mark.parametrize(
    ("text", "assignment"),
    [
        ("8080:80", "ports.8080/tcp=80"),
        ("8080:80/udp", "ports.8080/udp=80"),
        ("192.0.2.1:8080:80", "ports.192.0.2.1:8080/tcp=80"),
        ("[2001:DB8::1]:53:5353/udp", "ports.[2001:db8::1]:53/udp=5353"),
        ("8000-8010:9000-9010/tcp", "ports.8000-8010/tcp=9000-9010"),
    ],
)
def test_a_forward_is_an_assignment(text: str, assignment: str) -> None:
    assert forwarded(text) == assignment
    assert forwarded(text, "eth1") == f"{assignment}@eth1"


@pytest.mark.parametrize(
    "text", ["80/tcp", ":80", "80:", "a:80", "80:a", "70000:80", "8080:80/sctp", "1:2:3:4", "8-9:8"]
)
def test_what_is_no_forward_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        assign_all(Config(), [forwarded(text)])


@pytest.mark.parametrize("text", ["8080/tcp", "8080", "8080:80", "8080:80/tcp"])
def test_a_port_is_removed_as_it_was_added_or_by_that_of_the_host(text: str) -> None:
    web = FakeInstance("nics.eth0.type=bridged", "ports.8080/tcp=80")
    web.ports.remove(text)
    assert settings(web) == {"nics.eth0.type": "bridged"}


def test_ports_that_differ_in_what_runs_are_listed_twice() -> None:
    web = FakeInstance(
        "ports.80/tcp=80", "ports.81/tcp=81@eth1", live=("ports.80/tcp=80", "ports.81/tcp=82", "ports.53/udp=53")
    )
    assert web.ports.list() == (
        PortInfo("web", "80/tcp", "80", "", stored=True, in_force=True),
        PortInfo("web", "81/tcp", "82", "", stored=False, in_force=True),
        PortInfo("web", "81/tcp", "81", "eth1", stored=True, in_force=False),
        PortInfo("web", "53/udp", "53", "", stored=False, in_force=True),
    )


def test_of_what_is_stopped_no_port_is_open() -> None:
    assert [port.in_force for port in FakeInstance("ports.80/tcp=80").ports.list()] == [False]
