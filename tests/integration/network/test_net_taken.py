"""What somebody has taken away or left behind: it comes back where it is in use, and goes where it is nobody's."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine
from cloison.network.network import table_of
from tests.integration.conftest import Cli, eventually
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE, World

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
RULED = (
    "nics.eth0.type=bridged",
    "nics.eth0.rules=deny in tcp 81",
    "nics.eth0.security.ip_filter=true",
    "ports.8080/tcp=80",
)


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


# --- a firewall that is loaded anew ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["repair", "another instance"])
def test_a_firewall_that_is_loaded_anew_costs_nobody_his_rules(
    how: str, nicked: Nicked, engine: Engine, outside: World, cli: Cli
) -> None:
    """`nft flush ruleset` is what /etc/nftables.conf begins with on Debian."""
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    web, db = nicked("web", *RULED), nicked("db", "nics.eth0.network=back")
    routed = ("nics.eth0.type=routed", f"nics.eth0.parent={netlab.UPLINK}", "nics.eth0.addresses=203.0.113.50/32")
    third = nicked("third", *routed, "nics.eth0.rules=deny in tcp 81")
    before = netlab.rules()
    run("nft", "flush", "ruleset")
    with netlab.serving(web):
        assert netlab.cannot_reach(HERE, netlab.HOST4, 8080)
    if how == "repair":
        assert cli("repair").returncode == 0
    else:
        nicked("late").delete(force=True)
    assert set(before) - set(netlab.rules()) == set()
    with netlab.serving(web), netlab.serving(outside):
        assert netlab.asks(outside, netlab.HOST4, 8080) == netlab.OUTSIDE4
        for each in (web, db):
            assert netlab.asks(each, netlab.FAR4) == netlab.HOST4
    for each in (web, third):
        with netlab.serving(each, 81):
            assert netlab.cannot_reach(HERE, netlab.address(each), 81)


def test_what_is_routed_has_its_tables_back_at_repair(nicked: Nicked, cli: Cli) -> None:
    nicked("web", "nics.eth0.type=p2p", "nics.eth0.addresses=10.66.0.2/30", "ports.8080/tcp=80")
    before = netlab.rules()
    run("nft", "flush", "ruleset")
    assert cli("repair").returncode == 0
    assert netlab.rules() == before


# --- a way outside that comes later ----------------------------------------------------------------------------------


@pytest.fixture
def vpn(engine: Engine, lab: netlab.Lab) -> Iterator[None]:
    """Another interface of the host by which the far end is reached comes in the test, and goes after it."""
    assert engine.networks.all() == ()
    yield
    lab.host.do("ip link delete vpn0 2>/dev/null || true")


@pytest.mark.usefixtures("vpn")
@pytest.mark.parametrize("family", [4, 6])
def test_a_way_outside_that_comes_later_is_one(family: int, nicked: Nicked, lab: netlab.Lab, outside: World) -> None:
    web = nicked("web")
    lab.host.do("ip link add vpn0 type veth peer name vpn0 netns $OUTSIDE", OUTSIDE=str(outside.pid))
    lab.host.do("ip link set vpn0 up; ip address add 192.0.2.2/24 dev vpn0; ip address add 2001:db8:7::2/64 dev vpn0")
    outside.do("ip link set vpn0 up; ip address add 192.0.2.1/24 dev vpn0; ip address add 2001:db8:7::1/64 dev vpn0")
    route = f"{netlab.FAR4}/32 via 192.0.2.1" if family == 4 else "2000::/3 via 2001:db8:7::1"
    lab.host.do(f"ip -{family} route add {route}")
    nicked("late")
    far, seen = (netlab.FAR4, "192.0.2.2") if family == 4 else (netlab.FAR6, "2001:db8:7::2")
    with netlab.serving(outside):
        assert netlab.asks(web, far) == seen
    lab.host.do(f"ip -{family} route del {route}")


# --- nobody's --------------------------------------------------------------------------------------------------------


def test_what_is_nobodys_goes_at_repair(engine: Engine, nicked: Nicked, root: Path, cli: Cli) -> None:
    """A store that is older than the host, and files that somebody has removed."""
    nicked("web", *RULED)
    before, files = netlab.state(), _files(root)
    engine.networks.create("lost", ["ipv4=10.56.0.1/24", "ipv6=none", "rules=deny in tcp 25"])
    lost = nicked(
        "gone",
        "nics.eth0.network=lost",
        "nics.eth0.limits.egress=50Mbit",
        "nics.eth0.rules=deny in tcp 81",
        "ports.8081/tcp=80",
    )
    end = f"v{lost.id[:8]}n0"
    pid = lost.observe().monitor_pid
    saved = _as_if_unknown(engine, root, lost.id, pid)
    done = cli("repair")
    assert done.returncode == 0, done
    eventually(lambda: not netlab.difference(before, netlab.state()), 5)
    assert netlab.difference(before, netlab.state()) == {}
    assert end not in netlab.link_names(HERE)
    assert _files(root) == files, saved
    web = engine.get("web")
    with netlab.serving(web):
        assert "E" not in netlab.asks(HERE, netlab.HOST4, 8080)


def _files(root: Path) -> set[str]:
    paths = [*root.glob("run/networks/**/*"), *root.glob("lib/networks/**/*")]
    book = Path("/run/cloison-forwarding").glob(f"*/{table_of(str(root))}.*")
    return {str(path) for path in (*paths, *book) if path.name not in ("dnsmasq.pid", "up")}


def _as_if_unknown(engine: Engine, root: Path, instance_id: str, monitor: int) -> list[str]:
    """Its processes die at once, and its records and its files below run are no more."""
    held = [pid for pid in (monitor, engine.get("gone").observe().pid) if pid]
    os.kill(monitor, signal.SIGKILL)
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in held), 5)
    assert eventually(lambda: f"v{instance_id[:8]}n0" not in netlab.link_names(HERE), 5)
    with engine.store.transaction() as changes:
        for prefix in ("instances/", "names/", "addresses/", "macs/", "ports/", "networks/"):
            for key in changes.keys(prefix):
                entry = changes.get(key)
                is_its = entry is not None and instance_id.encode() in entry.value
                if is_its or key == f"instances/{instance_id}" or key == "networks/lost":
                    changes.delete(key)
    network = root / "run" / "networks" / "lost"
    removed = [root / "run" / instance_id / "later", network / "network", network / "dnsmasq.pid"]
    for path in removed:
        path.unlink()
    return [str(path) for path in removed]
