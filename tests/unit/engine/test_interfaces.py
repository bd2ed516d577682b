"""From nics to interfaces, and what a host cannot give; the host is made up, its networks are always up."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from cloison.base.errors import Busy, CloisonError, Exists, Invalid, NotFound
from cloison.engine import acceptance, claims, grounds, interfaces, records
from cloison.engine.layout import Layout
from cloison.engine.records import Record
from cloison.engine.store import Store
from cloison.engine.wiring import Networks
from cloison.kernel.netlink.routes import Route as HostRoute
from cloison.kernel.netlink.values import Interface as Link
from cloison.network import ground, host, programs, upkeep
from cloison.network.host import Host
from cloison.spec.config import Config, assign_all
from cloison.spec.driver import Observed, State
from cloison.spec.network import Interface

LINKS = (
    Link(index=2, name="eth0", kind=""),
    Link(index=3, name="eth1", kind=""),
    Link(index=4, name="br0", kind="bridge"),
    Link(index=5, name="port0", kind="", master=4),
)
HOST = Host(LINKS, (HostRoute(to="0.0.0.0/0", device=2, via="192.0.2.1"),), ((2, "192.0.2.9/24"), (4, "10.50.0.1/16")))


class Engine:
    """What these modules need of one."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(str(root), f"{root}/lib", f"{root}/run")
        self.store = Store(f"{root}/state.db")
        self.driver = SimpleNamespace(carry_out=None, places=None, observe=lambda _id: Observed(State.STOPPED))
        self.networks = Networks(self)  # type: ignore[arg-type]

    def names_changed(self, names: object) -> None:
        """No packet rules are in place that could follow."""

    def network_changed(self, before: object, after: object) -> None:
        """Nor does anything run."""

    def is_ruled(self, *, without: str) -> bool:
        return grounds.is_ruled(self, without=without)  # type: ignore[arg-type]

    def create(self, name: str, *settings: str, number: int = 0) -> Record:
        config = assign_all(Config(), settings)
        acceptance.accept(self, config, before=Config())  # type: ignore[arg-type]
        record = Record(f"{number:012x}", name, "container", "sha256:0", "tiny", 1, 1 << 20, config)
        with self.store.transaction() as changes:
            records.claim_name(changes, name, record.id)
            record = claims.settle(changes, None, record)
            records.save(changes, record)
        return record

    def interfaces(self, *settings: str) -> tuple[Interface, ...]:
        return interfaces.interfaces(self, self.create("web", *settings))  # type: ignore[arg-type]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(host, "look", lambda: HOST)
    monkeypatch.setattr(host, "interface", HOST.interface)
    monkeypatch.setattr(host, "has_ipv6", lambda: True)
    monkeypatch.setattr(host, "listening", lambda _tcp, first, *_: (80, "nginx (process 7)") if first == 80 else None)
    monkeypatch.setattr(upkeep, "ensure", lambda *_: 77)
    monkeypatch.setattr(programs, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(upkeep, "index_if_up", lambda _of: 0)
    monkeypatch.setattr(ground, "has_tables", lambda _name: True)
    for name in ("ensure", "ensure_rules", "release", "remove_rules"):
        monkeypatch.setattr(ground, name, lambda *_, **__: ())
    monkeypatch.setattr(upkeep, "is_up", lambda _of: False)
    monkeypatch.setattr(upkeep, "down", lambda *_, **__: None)
    engine = Engine(tmp_path)
    engine.networks.create("lan", ["ipv4=10.9.0.1/24", "ipv6=fd00:9::1/64", "mtu=1400"])
    yield engine
    engine.store.close()


def test_a_nic_on_a_network(engine: Engine) -> None:
    said = ("nics.eth0.network=lan", "nics.eth0.addresses=10.9.0.7", "nics.eth0.limits.ingress=1Mbit")
    (eth0,) = engine.interfaces(*said)
    assert eth0 == Interface(
        number=0,
        type="bridged",
        name="eth0",
        host_name="v00000000n0",
        mac=eth0.mac,
        mtu=1400,
        addresses=("10.9.0.7/24",),
        gateways=("10.9.0.1",),
        master=engine.networks.get("lan").bridge,
        master_index=77,
        ingress_bps=1_000_000,
        files=eth0.files,
    )
    assert [text for path, text in eth0.files if "/names/" in path] == ["10.9.0.7 web.cloison web\n"]
    assert [text for path, text in eth0.files if "/leases/" in path] == [f"{eth0.mac},id:*,10.9.0.7,web\n"]


def test_the_default_network_is_made_when_it_is_needed(engine: Engine) -> None:
    with pytest.raises(NotFound):
        engine.networks.get("cloison0")
    (eth0,) = engine.interfaces("nics.eth0.type=bridged")
    assert engine.networks.get("cloison0").own(eth0.addresses[0])
    assert len(eth0.addresses) == len(eth0.gateways) == 2


def test_dhcp_gets_no_addresses_from_outside_but_a_lease(engine: Engine) -> None:
    (eth0,) = engine.interfaces("nics.eth0.network=lan", "nics.eth0.addresses=dhcp")
    assert eth0.addresses == eth0.gateways == ()
    assert any("/leases/" in path for path, _text in eth0.files)


def test_there_is_one_default_route(engine: Engine) -> None:
    a, b = engine.interfaces("nics.a.network=lan", "nics.b.type=bridged")
    assert a.gateways == ("10.9.0.1", "fd00:9::1")
    assert b.gateways == ()


def test_a_default_route_that_was_written_down_is_the_one(engine: Engine) -> None:
    a, b = engine.interfaces("nics.a.network=lan", "nics.b.network=lan", "nics.b.gateway=10.9.0.9")
    assert (a.gateways, b.gateways) == (("fd00:9::1",), ("10.9.0.9",))


def test_what_is_routed_is_answered_for_on_its_network(engine: Engine) -> None:
    (eth0,) = engine.interfaces("nics.eth0.type=routed", "nics.eth0.network=lan", "nics.eth0.addresses=10.9.0.7")
    assert (eth0.addresses, eth0.gateways, eth0.proxies) == (("10.9.0.7/32",), ("169.254.1.1",), (("10.9.0.7", 77),))


def test_what_is_on_an_interface_of_the_host(engine: Engine) -> None:
    a, b, c, d = engine.interfaces(
        *("nics.a.type=macvlan", "nics.a.parent=eth0"),
        *("nics.b.type=ipvlan", "nics.b.parent=eth0", "nics.b.mode=l3"),
        *("nics.c.type=phys", "nics.c.parent=eth1"),
        *("nics.d.parent=br0", "nics.d.vlan=9"),
    )
    assert (a.type, a.master, a.master_index, a.mode, a.host_name) == ("macvlan", "eth0", 2, "bridge", "")
    assert (b.type, b.master_index, b.mode, b.mac) == ("ipvlan", 2, "l3", "")
    assert (c.type, c.host_name, c.master) == ("phys", "eth1", "")
    assert (d.type, d.master_index, d.vlan, d.host_name) == ("bridged", 4, 9, "v00000000n3")


def test_a_network_over_an_interface_that_is_no_bridge_shares_it(engine: Engine) -> None:
    engine.networks.create("wan", ["parent=eth1"])
    (eth0,) = engine.interfaces("nics.eth0.network=wan")
    assert (eth0.type, eth0.master_index, eth0.mode, eth0.addresses) == ("macvlan", 3, "bridge", ())
    with pytest.raises(Invalid, match="is no bridge, and there nothing can be limited"):
        interfaces.interfaces(
            engine,  # type: ignore[arg-type]
            engine.create("db", "nics.eth0.network=wan", "nics.eth0.limits.egress=1Mbit", number=1),
        )


def test_ports_and_rules_become_packet_rules_with_addresses(engine: Engine) -> None:
    db = engine.create("db", "nics.eth0.network=lan", number=1)
    (eth0,) = engine.interfaces("nics.eth0.network=lan", "ports.8080/tcp=80", "nics.eth0.rules=deny in from db,lan")
    assert "dnat_v00000000n0" in eth0.nft and "dnat_v00000000n0" in eth0.nft_undo
    assert db.claims["eth0"].addresses[0].partition("/")[0] in eth0.nft
    assert '"10.9.0.0"' in eth0.nft


@pytest.mark.parametrize(
    ("settings", "problem", "said"),
    [
        (("nics.a.parent=br7",), Invalid, "this host has no interface 'br7'"),
        (("nics.a.parent=eth0",), Invalid, "this is no bridge"),
        (("nics.a.type=phys", "nics.a.parent=eth0"), CloisonError, "carries the default route"),
        (("nics.a.type=phys", "nics.a.parent=port0"), Exists, "in use, as a port of br0"),
        (("nics.a.network=lan", "ports.80/tcp=80"), Exists, "port 80 of this host is in use by nginx (process 7)"),
        (("nics.a.rules=deny in from nobody",), NotFound, "no network 'nobody'"),
    ],
)
def test_what_the_host_cannot_give_is_refused(
    engine: Engine, settings: tuple[str, ...], problem: type[CloisonError], said: str
) -> None:
    with pytest.raises(problem) as caught:
        engine.create("web", *settings)
    assert said in str(caught.value)


def test_who_insists_lends_even_the_hosts_way_out(engine: Engine) -> None:
    (eth0,) = engine.interfaces("nics.a.type=phys", "nics.a.parent=eth0", "nics.a.force=true")
    assert eth0.host_name == "eth0"


@pytest.mark.parametrize(
    ("options", "problem", "said"),
    [
        (("ipv4=10.9.0.9/16",), Exists, "10.9.0.0/16 overlaps the network 'lan' (10.9.0.0/24)"),
        (("ipv4=192.0.2.129/25",), Exists, "overlaps an address of eth0 (192.0.2.9/24)"),
        (("parent=eth7",), Invalid, "this host has no interface 'eth7'"),
        (("rules=deny in from nobody",), NotFound, "no network 'nobody'"),
    ],
)
def test_a_network_that_cannot_be_is_refused(
    engine: Engine, options: tuple[str, ...], problem: type[CloisonError], said: str
) -> None:
    with pytest.raises(problem) as caught:
        engine.networks.create("more", options)
    assert said in str(caught.value)


def test_a_network_in_use_is_not_deleted_and_keeps_its_subnet(engine: Engine) -> None:
    engine.create("web", "nics.eth0.network=lan")
    with pytest.raises(Busy, match="'lan' cannot be deleted: web is on it"):
        engine.networks.delete("lan")
    with pytest.raises(Busy, match="'lan' cannot get another subnet or parent: web is on it"):
        engine.networks.set("lan", "ipv4=10.8.0.1/24")
    before = engine.networks.get("lan")
    assert engine.networks.set("lan", "nat=false") == msgspec.structs.replace(
        before, options=msgspec.structs.replace(before.options, nat=False)
    )


def test_another_subnet_can_be_set_while_nobody_is_there(engine: Engine) -> None:
    after = engine.networks.set("lan", "ipv4=10.8.0.1/24", "ipv6=none")
    assert (after.ipv4, after.ipv6) == ("10.8.0.1/24", "")
    assert engine.networks.set("lan", "ipv6=").ipv6.startswith("fd")
    engine.networks.delete("lan")
    assert engine.networks.all() == ()


def test_who_is_on_a_network_is_told(engine: Engine) -> None:
    web = engine.create("web", "nics.eth0.network=lan")
    info = engine.networks.info("lan")
    assert [(each.instance, each.nic, each.addresses) for each in info.members] == [
        ("web", "eth0", web.claims["eth0"].addresses)
    ]
    assert (info.options, info.is_up) == ({"ipv4": "10.9.0.1/24", "ipv6": "fd00:9::1/64", "mtu": "1400"}, False)


def test_nothing_but_free_subnets_is_chosen(engine: Engine) -> None:
    found = [engine.networks.create(f"net{number}") for number in range(20)]
    for record in found:
        for other in (*HOST.taken(), *((each, "") for one in found if one is not record for each in one.subnets)):
            assert not any(overlapping(each, other[0]) for each in record.subnets)


def overlapping(one: str, other: str) -> bool:
    """By the standard library, which is another witness."""
    import ipaddress

    a, b = ipaddress.ip_network(one, strict=False), ipaddress.ip_network(other, strict=False)
    return a.version == b.version and a.overlaps(b)
