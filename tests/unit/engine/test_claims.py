"""What nics have to themselves: nobody gets what another has, and everything is given back."""

import binascii
import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import Exists, Invalid, NoSpace, NotFound
from cloison.engine import claims, networks, records
from cloison.engine.networks import NetworkRecord
from cloison.engine.records import Claim, Record
from cloison.engine.store import Store
from cloison.spec.config import Config, assign_all
from cloison.spec.nic_keys import check

LAN = NetworkRecord("lan", "lan", 1, "10.9.0.1/24", "fd00:9::1/64")
TINY = NetworkRecord("tiny", "tiny", 1, "10.8.0.1/29")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "state.db"))
    with store.transaction() as changes:
        for network in (LAN, TINY, NetworkRecord("cloison0", "cloison0", 1, "10.7.0.1/16")):
            networks.add(changes, network)
    return store


def record(name: str, *settings: str) -> Record:
    config = assign_all(Config(), settings)
    check(config.nics, config.ports)
    instance_id = f"{binascii.crc32(name.encode()):012x}"
    return Record(instance_id, name, "container", "sha256:0", "tiny", 1, 1 << 20, config)


def settled(store: Store, after: Record, before: Record | None = None) -> Record:
    with store.transaction() as changes:
        found = claims.settle(changes, before, after)
        records.save(changes, found)
    return found


def entries(store: Store) -> list[str]:
    return [entry.key for prefix in ("macs/", "addresses/", "ports/", "lent/") for entry in store.list(prefix)]


def changed(store: Store, before: Record, *settings: str, live: Config | None = None) -> Record:
    config = assign_all(before.config, settings)
    return settled(store, msgspec.structs.replace(before, config=config, live=live), before)


def test_a_nic_on_a_network_gets_an_address_of_each_family_and_a_mac(store: Store) -> None:
    claim = settled(store, record("web", "nics.eth0.network=lan")).claims["eth0"]
    assert re.fullmatch("02:c1:05(:[0-9a-f]{2}){3}", claim.mac)
    four, six = (ipaddress.ip_interface(address) for address in claim.addresses)
    assert four.network == ipaddress.ip_network("10.9.0.0/24")
    assert int(four) & 255 not in (0, 1, 255)
    assert six.network == ipaddress.ip_network("fd00:9::/64")


def test_what_was_chosen_stays_whatever_else_is_set(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.network=lan"))
    assert changed(store, web, "nics.eth0.mtu=1400", "nics.aaa.type=bridged").claims["eth0"] == web.claims["eth0"]


def test_everything_is_given_back(store: Store) -> None:
    web = settled(
        store,
        record("web", "nics.eth0.network=lan", "nics.x.type=phys", "nics.x.parent=eth7", "ports.80/tcp=80@eth0"),
    )
    assert len(entries(store)) == 5  # a MAC, two addresses, a port, an interface of the host
    with store.transaction() as changes:
        claims.release(changes, web)
    assert entries(store) == []


def test_what_is_no_longer_configured_is_given_back(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.network=lan", "ports.80/tcp=80"))
    after = changed(store, web, "ports.80/tcp=", "nics.eth0.network=", "nics.eth0.type=", "nics.a.type=p2p")
    assert list(after.claims) == ["a"]
    assert entries(store) == [f"macs/{after.claims['a'].mac}"]


def test_what_still_runs_keeps_its_own_until_it_ends(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.network=lan"))
    both = changed(store, web, "nics.eth0.network=tiny", live=web.config)
    assert both.live_claims == web.claims
    assert both.claims["eth0"].addresses[0].startswith("10.8.0.")
    ended = settled(store, msgspec.structs.replace(both, live=None), both)
    assert ended.live_claims is None
    assert [key for key in entries(store) if key.startswith("addresses/")] == [
        f"addresses/tiny/{ipaddress.ip_interface(ended.claims['eth0'].addresses[0]).packed.hex()}"
    ]


def test_a_hundred_at_once_get_a_hundred_addresses(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: settled(store, record(f"web{n}", "nics.eth0.network=lan")), range(100)))
    assert len({each.claims["eth0"].addresses[0] for each in found}) == 100
    assert len({each.claims["eth0"].mac for each in found}) == 100


def test_a_network_that_is_full_says_so(store: Store) -> None:
    for number in range(5):
        settled(store, record(f"web{number}", "nics.eth0.network=tiny"))
    with pytest.raises(NoSpace, match="every address of the network tiny"):
        settled(store, record("one-more", "nics.eth0.network=tiny"))


def test_two_never_have_the_same(store: Store) -> None:
    said = (
        "nics.eth0.network=lan",
        "nics.eth0.addresses=10.9.0.7",
        "nics.eth0.mac=02:00:00:00:00:07",
        "nics.x.type=phys",
        "nics.x.parent=eth7",
        "ports.8000-8010/tcp=1-11@eth0",
    )
    settled(store, record("web", *said))
    for settings, about in (
        (
            ("nics.a.network=lan", "nics.a.addresses=10.9.0.7"),
            "nics.eth0 of the instance 'web' has the address 10.9.0.7",
        ),
        (("nics.a.type=bridged", "nics.a.mac=02:00:00:00:00:07"), "'web' has it already"),
        (("nics.a.type=phys", "nics.a.parent=eth7"), "nics.x of the instance 'web' has it already"),
        (("nics.a.type=bridged", "ports.10.0.0.1:8005/tcp=1"), "the instance 'web' has ports.8000-8010/tcp already"),
    ):
        before = entries(store)
        with pytest.raises(Exists) as caught:
            settled(store, record("db", *settings))
        assert about in str(caught.value)
        assert entries(store) == before


def test_two_nics_of_one_instance_never_have_the_same(store: Store) -> None:
    with pytest.raises(Exists, match=r"nics.a of the instance 'web' has the address 10.9.0.7"):
        settled(
            store,
            record(
                "web",
                *("nics.a.network=lan", "nics.a.addresses=10.9.0.7"),
                *("nics.b.network=lan", "nics.b.addresses=10.9.0.7"),
            ),
        )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("10.9.1.7", "lies outside of the network lan, which is 10.9.0.0/24 and fd00:9::/64"),
        ("fd00:8::7", "lies outside"),
        ("10.9.0.1", "is the address of the network's bridge"),
        ("10.9.0.255", "the first or the last of 10.9.0.0/24"),
    ],
)
def test_an_address_that_the_network_cannot_give_is_refused(store: Store, address: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        settled(store, record("web", "nics.eth0.network=lan", f"nics.eth0.addresses={address}"))
    assert said in str(caught.value)


def test_an_address_takes_the_prefix_length_of_its_network(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.network=lan", "nics.eth0.addresses=10.9.0.7,fd00:9::7"))
    assert web.claims["eth0"].addresses == ("10.9.0.7/24", "fd00:9::7/64")


def test_what_is_routed_has_its_address_alone(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.type=routed", "nics.eth0.addresses=192.0.2.7/24"))
    assert web.claims["eth0"].addresses == ("192.0.2.7/32",)


def test_dhcp_has_its_addresses_reserved(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.network=lan", "nics.eth0.addresses=dhcp"))
    assert len(web.claims["eth0"].addresses) == 2


def test_no_addresses_are_none(store: Store) -> None:
    web = settled(store, record("web", "nics.eth0.network=lan", "nics.eth0.addresses=none"))
    assert web.claims == {"eth0": Claim(0, web.claims["eth0"].mac, ())}


def test_numbers_stay_and_are_used_again(store: Store) -> None:
    web = settled(store, record("web", "nics.b.type=bridged", "nics.c.type=bridged"))
    assert {name: claim.number for name, claim in web.claims.items()} == {"b": 0, "c": 1}
    more = changed(store, web, "nics.a.type=bridged")
    assert {name: claim.number for name, claim in more.claims.items()} == {"a": 2, "b": 0, "c": 1}
    less = changed(store, more, "nics.b.type=")
    assert changed(store, less, "nics.d.type=bridged").claims["d"].number == 0


def test_a_network_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match=r"nics.eth0.network=wan: there is no network 'wan'"):
        settled(store, record("web", "nics.eth0.network=wan"))


def test_two_networks_share_no_subnet_and_no_name(store: Store) -> None:
    for other, said in (
        (NetworkRecord("lan", "lan2", 1, "10.6.0.1/24"), "already a network 'lan'"),
        (NetworkRecord("wide", "wide", 1, "10.0.0.1/8"), "10.0.0.0/8 overlaps"),
        (NetworkRecord("more", "lan", 1, "10.6.0.1/24"), "'lan' has the interface lan already"),
    ):
        with pytest.raises(Exists) as caught, store.transaction() as changes:
            networks.add(changes, other)
        assert said in str(caught.value)
