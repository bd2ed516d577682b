"""A Debian as a client of DHCP: what its systemd-networkd is given is what the network keeps for it, and what the
network says that it has given. Other clients are in test_net_services.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloison import Engine, Instance
from tests.integration.conftest import booted, empty_installation, eventually, inside
from tests.integration.network import netlab
from tests.integration.network.netlab import HERE, World

pytestmark = [
    pytest.mark.debian,
    pytest.mark.needs_root,
    pytest.mark.needs_cgroup,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
Booted = Callable[..., Instance]


@pytest.fixture
def root(tmp_path: Path, debian_images: Path) -> Path:
    """An empty installation, with the images of all who want a Debian."""
    return empty_installation(tmp_path / "root", debian_images)


@pytest.fixture
def debian(engine: Engine) -> Booted:
    """A Debian on cloison0 that has booted: `debian("web", "nics.eth0.addresses=dhcp")`."""

    def launched(name: str, *config: str) -> Instance:
        instance = engine.launch("debian/12", name, config=("nics.eth0.type=bridged", *config))
        assert eventually(lambda: booted(instance), 60)
        return instance

    return launched


def kept(instance: Instance) -> dict[int, str]:
    """The address of each family that the network keeps for it, by what the store says."""
    members = instance._engine.networks.info("cloison0").members
    found = next(each.addresses for each in members if each.instance == instance.name)
    return {6 if ":" in each else 4: each.partition("/")[0] for each in found}


def held(instance: Instance) -> dict[int, list[str]]:
    """The global addresses of each family that it has, by what the kernel says."""
    found = [each.partition("/")[0] for each in netlab.addresses(instance, "eth0")]
    return {family: [each for each in found if (":" in each) == (family == 6)] for family in (4, 6)}


def has_its_own(instance: Instance) -> bool:
    """Whether the address of each family is there and in use, and no other."""
    is_tentative = bool(netlab.ip(instance, "address", "show", "tentative"))  # it asks whether there is a double of it
    return not is_tentative and held(instance) == {family: [address] for family, address in kept(instance).items()}


def sources(instance: Instance) -> set[tuple[int, str]]:
    """Families of global addresses, each with where systemd-networkd says that it has it from."""
    said: Any = json.loads(inside(instance, "networkctl", "--json=short", "status", "eth0"))
    families = {2: 4, 10: 6}
    return {(families[each["Family"]], each["ConfigSource"]) for each in said["Addresses"] if not each["Scope"]}


def leased(root: Path) -> set[str]:
    """The addresses in the lease file of dnsmasq, whatever their clients."""
    lines = (root / "lib/networks/cloison0/leases").read_text().splitlines()
    return {line.split()[2] for line in lines if line[0].isdigit()}


def told(engine: Engine) -> dict[str, tuple[str, str]]:
    """What `network info` says of leases: the MAC address and the name of each address."""
    return {each.address: (each.mac, each.name) for each in engine.networks.info("cloison0").leases}


@pytest.mark.guest
def test_systemd_networkd_is_given_what_is_kept_for_it(debian: Booted, engine: Engine, root: Path) -> None:
    web = debian("web", "nics.eth0.addresses=dhcp")
    assert eventually(lambda: has_its_own(web), 20)
    own = kept(web)
    assert sources(web) == {(4, "DHCPv4"), (6, "DHCPv6")}
    assert leased(root) == set(own.values())
    mac = netlab.link(web, "eth0")["address"]
    assert told(engine) == {own[4]: (mac, "web"), own[6]: ("", "web")}
    inside(web, "networkctl", "renew", "eth0")
    web.stop()
    web.start()
    assert eventually(lambda: booted(web), 60)
    assert eventually(lambda: has_its_own(web), 20)
    assert kept(web) == own


def test_systemd_networkd_agrees_with_what_was_set_before_it(debian: Booted, engine: Engine, root: Path) -> None:
    """The address is there before its init; the client asks all the same, and is given this one."""
    web = debian("web")
    own = kept(web)
    assert held(web) == {family: [address] for family, address in own.items()}
    assert eventually(lambda: (4, "DHCPv4") in sources(web), 20)
    assert eventually(lambda: has_its_own(web), 20)
    assert own[4] in leased(root)
    assert told(engine)[own[4]] == (netlab.link(web, "eth0")["address"], "web")


@pytest.mark.parametrize("addresses", ["auto", "dhcp"])
def test_a_debian_knows_its_name_and_that_of_others(addresses: str, debian: Booted, outside: World) -> None:
    web, db = debian("web", f"nics.eth0.addresses={addresses}"), debian("db")
    assert eventually(lambda: has_its_own(web), 20)
    own = kept(web)
    # The files that say who it is, and the programs of the distribution that read them.
    assert inside(web, "cat", "/etc/hostname") == "web\n"
    assert inside(web, "hostname", "--fqdn") == "web.cloison\n"
    hosts = [line.split() for line in inside(web, "cat", "/etc/hosts").splitlines()]
    assert [line for line in hosts if "web" in line] == [[each, "web.cloison", "web"] for each in own.values()]
    # systemd-resolved stays in charge of resolv.conf, and asks the network's name server.
    assert inside(web, "readlink", "/etc/resolv.conf").strip() == "../run/systemd/resolve/stub-resolv.conf"
    resolver = inside(web, "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.53\n" in resolver
    assert "search cloison\n" in resolver
    bridge = netlab.bridge_of(web)
    servers = [netlab.address(HERE, bridge, family) for family in (4, 6)]
    assert all(server in inside(web, "resolvectl", "dns") for server in servers)
    # Names of both, asked of the network from a Debian and from the host.
    for family, option in ((4, "ahostsv4"), (6, "ahostsv6")):
        for name, who in (("web", web), ("db", db)):
            wanted = kept(who)[family]
            assert inside(web, "getent", option, f"{name}.cloison").split()[0] == wanted
            assert netlab.resolve(servers[0], f"{name}.cloison", family) == [wanted]
    assert kept(db)[4] in inside(web, "getent", "ahostsv4", "db")  # the domain is searched
    # And the way outside is there.
    assert netlab.routes(web) >= {f"default via {servers[0]} dev eth0"}
    assert eventually(lambda: "tentative" not in inside(web, "ip", "-6", "address", "show", "dev", "eth0"), 20)
    inside(web, "ping", "-c", "1", "-W", "5", netlab.FAR4)
    inside(web, "ping", "-c", "1", "-W", "5", netlab.FAR6)
