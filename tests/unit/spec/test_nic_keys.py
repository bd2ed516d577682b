"""The keys of nics and ports: what is understood, what is refused, and which go together."""

import pytest

from cloison.base.errors import Invalid
from cloison.spec.config import Config, assign_all, items, network_of, value_of
from cloison.spec.nic_keys import check, host_ports
from cloison.spec.nics import TYPES


def configured(*settings: str) -> Config:
    config = assign_all(Config(), settings)
    check(config.nics, config.ports)
    return config


@pytest.mark.parametrize(
    ("assignment", "shown"),
    [
        ("nics.eth0.mac=02-C1-05-AA-BB-CC", "02:c1:05:aa:bb:cc"),
        ("nics.eth0.addresses=10.0.0.2/24, fd00:0::2/64", "10.0.0.2/24,fd00::2/64"),
        ("nics.eth0.addresses=dhcp", "dhcp"),
        ("nics.eth0.gateway=none", "none"),
        ("nics.eth0.gateway=10.0.0.1,fd00::1", "10.0.0.1,fd00::1"),
        (
            "nics.eth0.routes=10.9.1.1/16 via 10.0.0.1 metric 5,fd00:9::/32",
            "10.9.0.0/16 via 10.0.0.1 metric 5, fd00:9::/32",
        ),
        ("nics.eth0.limits.ingress=1000000", "1Mbit"),
        ("nics.eth0.limits.egress=2.5gbit", "2500Mbit"),
        ("nics.eth0.rules=deny in tcp 22,80-90 from web,10.1.2.3/8 ; allow out", None),
        ("nics.eth0.security.mac_filter=on", "true"),
        ("ports.8080=80", "80"),
        ("ports.[fd00:0::1]:8080-8090/udp=80-90@eth1", "80-90@eth1"),
    ],
)
def test_what_was_set_is_what_get_shows(assignment: str, shown: str | None) -> None:
    key = assignment.partition("=")[0]
    assert value_of(assign_all(Config(), [assignment]), key) == (
        shown or "deny in tcp 22,80-90 from web,10.0.0.0/8; allow out"
    )


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("nics.sixteen-bytes-xx.type=bridged", "15 bytes"),
        ("nics.a/b.type=bridged", "no name of an interface"),
        ("nics.lo.type=bridged", "something else to the kernel"),
        ("nics.eth0.parent=sixteen-bytes-xx", "15 bytes"),
        ("nics.eth0.network=my net", "no name for a network"),
        ("nics.eth0.mac=02:c1:05:12:34", "six bytes"),
        ("nics.eth0.mac=03:c1:05:12:34:56", "addresses a group"),
        ("nics.eth0.mac=00:00:00:00:00:00", "no address"),
        ("nics.eth0.mtu=60", "from 68"),
        ("nics.eth0.vlan=4095", "to 4094"),
        ("nics.eth0.addresses=10.0.0.300", "not an internet address"),
        ("nics.eth0.addresses=10.0.0.2/33", "prefix length of 0 to 32"),
        ("nics.eth0.addresses=127.0.0.1", "no interface can have"),
        ("nics.eth0.addresses=224.0.0.1", "no interface can have"),
        ("nics.eth0.addresses=::1", "no interface can have"),
        ("nics.eth0.addresses=auto,10.0.0.2", "stand alone"),
        ("nics.eth0.addresses=10.0.0.2,10.0.0.2", "once"),
        ("nics.eth0.gateway=10.0.0.1,10.0.0.2", "one default route"),
        ("nics.eth0.gateway=10.0.0.1/24", "is a subnet"),
        ("nics.eth0.routes=10.9.0.0/16 through 10.0.0.1", "is no route"),
        ("nics.eth0.routes=10.9.0.0/16 via fd00::1", "one is IPv4"),
        ("nics.eth0.routes=default", "via ADDRESS"),
        ("nics.eth0.limits.ingress=fast", "bits per second"),
        ("nics.eth0.limits.ingress=1k", "from 64kbit"),
        ("nics.eth0.rules=forbid in", "is no rule"),
        ("nics.eth0.rules=deny in icmp 80", "ports are of tcp"),
        ("nics.eth0.rules=deny in tcp 80 from", "not understood"),
        ("nics.eth0.rules=deny in tcp 90-80", "ends before it begins"),
        ("nics.eth0.rules=deny in from 10.0.0.1 to fd00::1", "no packet is both"),
        ("nics.eth0.rules=deny in from we_b", "no name for"),
        ("nics.eth0.rules=;", "no rule in it"),
        ("ports.http=80", "is no port"),
        ("ports.80/sctp=80", "no port of the host"),
        ("ports.fd00::1:80/tcp=80", "no port of the host"),
        ("ports.8080-8081/tcp=80", "write as many"),
        ("ports.8080/tcp=80@", '"" is no name'),
        ("ports.0/tcp=80", "from 1 to"),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_possible(assignment: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        assign_all(Config(), [assignment])
    assert said in str(caught.value)
    assert assignment.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("nics.a.type=host", "nics.b.type=bridged"), "nics.a.type=host: says what the whole network is"),
        (("nics.a.type=empty", "nics.a.mtu=1400"), "nics.a.mtu=1400: means nothing for the type empty"),
        (("nics.a.type=ipvlan", "nics.a.parent=eth0", "nics.a.mac=02:00:00:00:00:01"), "nothing for the type ipvlan"),
        (("nics.a.type=macvlan", "nics.a.security.mac_filter=true"), "security.mac_filter=true: means nothing"),
        (("nics.a.type=macvlan",), "takes nics.a.parent too"),
        (("nics.a.type=vlan", "nics.a.parent=eth0"), "takes nics.a.vlan too"),
        (("nics.a.type=ipvlan", "nics.a.parent=eth0", "nics.a.mode=vepa"), "the modes of ipvlan are l2, l3, l3s"),
        (("nics.a.network=lan", "nics.a.parent=br0"), "it is on the network lan already"),
        (("nics.a.parent=br0", "nics.a.addresses=auto"), "only a network gives addresses"),
        (("nics.a.type=p2p", "nics.a.addresses=dhcp"), "nobody answers DHCP"),
        (("nics.a.type=routed", "nics.a.addresses=none"), "has to know them"),
        (("nics.a.mtu=1000", "nics.a.addresses=fd00::2/64"), "IPv6 takes 1280"),
        (("nics.a.addresses=10.0.0.2,10.0.0.2/24",), "twice"),
        (("nics.a.mac=02:00:00:00:00:01", "nics.b.mac=02:00:00:00:00:01"), "nics.a has it already"),
        (
            ("nics.a.type=phys", "nics.a.parent=eth1", "nics.b.type=phys", "nics.b.parent=eth1"),
            "nics.a has it already",
        ),
        (("nics.a.gateway=10.0.0.1", "nics.b.gateway=fd00::1,10.0.0.9"), "nics.a has the default route already"),
        (("ports.80/tcp=80",), "there is no nic that it could lead to"),
        (("nics.a.type=bridged", "ports.80/tcp=80@b"), "there is no nic 'b'"),
        (("nics.a.type=macvlan", "nics.a.parent=eth0", "ports.80/tcp=80"), "not behind this host"),
        (("nics.a.addresses=none", "ports.80/tcp=80"), "no address to lead to"),
        (("nics.a.type=bridged", "ports.80-90/tcp=80-90", "ports.10.0.0.1:85/tcp=1"), "wants the same port"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        configured(*settings)
    assert said in str(caught.value)


def test_every_type_is_possible() -> None:
    needed = {
        "macvlan": ("parent=eth0",),
        "ipvlan": ("parent=eth0",),
        "vlan": ("parent=eth0", "vlan=5"),
        "phys": ("parent=eth0",),
    }
    for kind in TYPES:
        configured(f"nics.a.type={kind}", *(f"nics.a.{more}" for more in needed.get(kind, ())))


def test_the_same_port_of_two_addresses_or_protocols_is_possible() -> None:
    config = configured(
        "nics.a.type=bridged", "ports.10.0.0.1:53/udp=53", "ports.10.0.0.2:53/udp=53", "ports.53/tcp=53"
    )
    assert len(config.ports) == 3


def test_ports_of_the_host_have_one_spelling() -> None:
    assert [str(host_ports(text)) for text in ("80", "0.0.0.0:80/tcp", "[FD00:0::1]:5-5/udp")] == [
        "80/tcp",
        "80/tcp",
        "[fd00::1]:5/udp",
    ]


def test_a_nic_is_on_the_default_network_where_nothing_else_is_said() -> None:
    def on(*settings: str) -> str:
        return assign_all(Config(), settings).nics["a"].on

    assert on("nics.a.type=bridged") == on("nics.a.mtu=1400") == on("nics.a.type=routed") == "cloison0"
    assert on("nics.a.network=lan") == "lan"
    assert (
        on("nics.a.parent=br0") == on("nics.a.type=p2p") == on("nics.a.type=routed", "nics.a.addresses=192.0.2.9") == ""
    )


def test_the_network_in_a_word() -> None:
    assert network_of(assign_all(Config(), ["nics.a.type=none"])) == "none"
    two = assign_all(Config(), ["nics.b.parent=br0", "nics.a.type=bridged", "nics.c.network=cloison0"])
    assert network_of(two) == "cloison0,br0"


def test_a_nic_is_there_until_its_type_is_taken_back_as_the_last_of_it() -> None:
    config = assign_all(Config(), ["nics.a.limits.ingress=1Mbit"])
    bare = assign_all(config, ["nics.a.limits.ingress="])
    assert dict(items(bare)) == {"nics.a.type": "bridged"}
    assert assign_all(bare, ["nics.a.mtu="]) == bare
    assert assign_all(bare, ["nics.a.type="]) == Config()
    assert assign_all(Config(), ["nics.a.limits.ingress=", "nics.a.type="]) == Config()


def test_a_nic_with_nothing_set_any_more_is_gone() -> None:
    config = assign_all(Config(), ["nics.a.mtu=1400", "nics.a.type=bridged"])
    assert dict(items(config)) == {"nics.a.type": "bridged", "nics.a.mtu": "1400"}
    assert assign_all(config, ["nics.a.mtu=", "nics.a.type="]) == Config()
