"""What is left: after many lives, after sudden deaths, under traffic, and when many begin at once."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cloison import Engine
from cloison.base.errors import CloisonError
from tests.integration import traces
from tests.integration.conftest import PROGRAM, Cli, eventually, init_of
from tests.integration.network import netlab
from tests.integration.network.conftest import INIT, Nicked
from tests.integration.network.netlab import HERE, World
from tests.patience import patient

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
FULL = (
    "nics.eth0.type=bridged",
    "nics.eth0.rules=deny in tcp 81",
    "nics.eth0.limits.egress=100Mbit",
    "nics.eth0.limits.ingress=100Mbit",
    "nics.eth0.security.ip_filter=true",
    "nics.r0.type=routed",
    f"nics.r0.parent={netlab.UPLINK}",
    "nics.r0.addresses=203.0.113.50/32",
    "ports.8080/tcp=80@eth0",
)


def files(root: Path) -> set[str]:
    """Names and leases that a network serves, and what it has leased."""
    found = [*root.glob("run/networks/*/served/*/*"), *root.glob("lib/networks/*/leases")]
    return {f"{path.relative_to(root)} {path.read_text()}" for path in found}


# --- nics that come and go -------------------------------------------------------------------------------------------


def test_nics_come_and_go_while_others_talk(nicked: Nicked, engine: Engine) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    web = nicked()
    before = netlab.link_names(HERE)
    with (
        netlab.serving(HERE),
        netlab.talking(web, "talk", netlab.address(HERE, netlab.bridge_of(web)), "80", "2500") as talk,
    ):
        for _ in range(5):
            web.set("nics.lan.network=back", "nics.lan.addresses=10.55.0.9")
            assert netlab.addresses(web, "lan") == ["10.55.0.9/24"]
            web.nics.remove("lan")
            assert "lan" not in netlab.link_names(web)
        count, longest_ms = map(int, talk.rest().split())
    assert count > 100
    assert longest_ms < patient(1000)
    assert netlab.link_names(HERE) - before <= {netlab.link(HERE, each)["ifname"] for each in _bridges()}


def _bridges() -> list[str]:
    return [each["ifname"] for each in netlab.ip(HERE, "link", "show", "type", "bridge")]


def test_a_nic_that_is_removed_under_traffic_is_gone(nicked: Nicked, engine: Engine) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    web = nicked("web", "nics.eth0.type=bridged", "nics.lan.network=back", "nics.lan.addresses=10.55.0.9")
    with netlab.serving(HERE), netlab.talking(web, "talk", "10.55.0.1", "80", "15000") as talk:
        web.nics.remove("lan")
        assert netlab.cannot_reach(HERE, "10.55.0.9")
        assert "lan" not in netlab.link_names(web)
        del talk
    web.set("nics.lan.network=back", "nics.lan.addresses=10.55.0.9")
    with netlab.serving(web):
        assert netlab.asks(HERE, "10.55.0.9") == "10.55.0.1"


# --- many lives ------------------------------------------------------------------------------------------------------


def cycle(engine: Engine, root: Path, count: int) -> None:
    """Start and stop a bridged instance with everything again and again: the host is as after the first time."""
    one = engine.create("busybox", "web", config=("init.command=/bin/true", *FULL))
    one.start()
    one.wait()
    before, served = netlab.state(), files(root)
    for _ in range(count):
        one.start()
        assert one.wait(30)
    eventually(lambda: not netlab.difference(before, netlab.state()), 5)
    assert netlab.difference(before, netlab.state()) == {}
    assert files(root) == served


@pytest.mark.guest
def test_a_life_leaves_nothing(engine: Engine, root: Path) -> None:
    cycle(engine, root, 10)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_200_lives_leave_nothing(engine: Engine, root: Path) -> None:
    cycle(engine, root, 200)


def test_no_address_is_handed_out_twice_and_freed_ones_are_free(engine: Engine) -> None:
    """A /29 has five addresses for instances: they go to five, the sixth is told, and who leaves makes room."""
    engine.networks.create("small", ["ipv4=10.43.0.1/29", "ipv6=none"])
    made = [engine.create("busybox", f"w{n}", config=(*INIT, "nics.eth0.network=small")) for n in range(5)]
    held = [member.addresses for member in engine.networks.info("small").members]
    assert len({each for both in held for each in both}) == 5
    with pytest.raises(CloisonError, match=r"small|10\.43"):
        engine.create("busybox", "w6", config=(*INIT, "nics.eth0.network=small"))
    made[2].delete()
    engine.create("busybox", "w7", config=(*INIT, "nics.eth0.network=small"))


def start_at_once(engine: Engine, root: Path, count: int, at_once: int) -> list[str]:
    """So many instances, made and started by commands of their own; gives their addresses, as the kernel has them."""
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    settings = [word for each in INIT for word in ("--set", each)]
    waiting = [f"w{number}" for number in range(count)]
    running: dict[str, subprocess.Popen[str]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            name = waiting.pop()
            command = [str(PROGRAM), "launch", "busybox", name, *settings, "--set", "nics.eth0.type=bridged"]
            running[name] = subprocess.Popen(command, env=environment, stdout=-3, stderr=-1, text=True)
        for name, process in list(running.items()):
            if process.poll() is not None:
                said = process.communicate()[1]
                assert process.returncode == 0, (name, said)
                del running[name]
        time.sleep(0.02)
    held = {instance.name: netlab.address(instance) for instance in engine.instances()}
    # The store and dnsmasq say the same.
    members = {each.instance: each.addresses[0].partition("/")[0] for each in engine.networks.info("cloison0").members}
    assert members == held
    server = netlab.address(HERE, netlab.bridge_of(engine.instances()[0]))
    for name, address in held.items():
        assert eventually(lambda n=name, a=address: netlab.resolve(server, f"{n}.cloison") == [a], 5)  # type: ignore[misc]
    return list(held.values())


def test_started_at_once_each_has_an_address_of_its_own(engine: Engine, root: Path) -> None:
    """Also the default network is made by many at once, and is there once."""
    found = start_at_once(engine, root, 12, 12)
    assert len(set(found)) == 12
    assert len(_bridges()) == 1
    assert len(netlab.daemons()) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_100_at_once_have_100_addresses(engine: Engine, root: Path) -> None:
    assert len(set(start_at_once(engine, root, 100, 100))) == 100


# --- sudden deaths ---------------------------------------------------------------------------------------------------


def kill_start(root: Path, instance_id: str, after_s: float) -> None:
    """`cloison start web`, killed with everything that it has started so far, and what that has started meanwhile."""
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    command = subprocess.Popen(
        [str(PROGRAM), "start", "web"], env=environment, stdout=-3, stderr=-3, stdin=-3, start_new_session=True
    )
    time.sleep(after_s)
    victims = [command.pid, *_descendants(command.pid)]
    while victims:
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.wait()
        victims = _holders(root, instance_id)


def _descendants(pid: int) -> list[int]:
    found = traces.children(pid)
    return [*found, *(each for child in found for each in _descendants(child))]


def _holders(root: Path, instance_id: str) -> list[int]:
    """The monitor and what runs under it; not dnsmasq, which is killed elsewhere."""
    return [pid for pid in traces.processes(root, (instance_id,)) if "dnsmasq" not in traces.command_line(pid)]


def test_killed_at_any_moment_repair_leaves_nothing(engine: Engine, root: Path, cli: Cli) -> None:
    """Every few milliseconds of a start, whoever is there then is killed; afterwards the host is as before the start,
    and the next start works."""
    web = engine.create("busybox", "web", config=(*INIT, *FULL))
    web.start()
    took = time.monotonic()
    web.stop()
    took = time.monotonic()
    web.start()
    took = time.monotonic() - took
    web.stop()
    before, served = netlab.state(), files(root)
    moments = 12
    for moment in range(moments):
        kill_start(root, web.id, 0.03 + (took + 0.15) * moment / moments)
        done = cli("repair")
        assert done.returncode == 0, done
        eventually(lambda: not netlab.difference(before, netlab.state()), 5)
        assert netlab.difference(before, netlab.state()) == {}, moment
        assert files(root) == served, moment
    web.start()
    with netlab.serving(web):
        assert "E" not in netlab.asks(HERE, netlab.HOST4, 8080)


@pytest.mark.guest
def test_the_monitor_is_killed(engine: Engine, root: Path, cli: Cli) -> None:
    web = engine.create("busybox", "web", config=(*INIT, *FULL))
    web.start()
    web.stop()
    before, served = netlab.state(), files(root)
    for _ in range(3):
        web.start()
        init = init_of(web)
        for pid in _holders(root, web.id):
            if pid != init:
                os.kill(pid, signal.SIGKILL)
        done = cli("repair")
        assert done.returncode == 0, done
        eventually(lambda: not netlab.difference(before, netlab.state()), 5)
        assert netlab.difference(before, netlab.state()) == {}
        assert files(root) == served


def test_dnsmasq_is_killed_and_comes_back(nicked: Nicked, cli: Cli) -> None:
    web = nicked()
    for pid in netlab.daemons():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not netlab.daemons(), 5)
    db = nicked("db")
    assert len(netlab.daemons()) == 1
    server = netlab.address(HERE, netlab.bridge_of(web))
    for name, who in (("web", web), ("db", db)):
        wanted = [netlab.address(who)]
        assert eventually(lambda n=name, w=wanted: netlab.resolve(server, f"{n}.cloison") == w, 5)  # type: ignore[misc]


@pytest.mark.parametrize("harm", ["bridge", "table"])
def test_what_somebody_took_away_comes_back(harm: str, nicked: Nicked, outside: World) -> None:
    web = nicked()
    bridge = netlab.bridge_of(web)
    table = next(each for each in netlab.rule_texts().splitlines() if each.startswith("table inet cloison")).split()[2]
    web.stop()
    argv = ["ip", "link", "delete", bridge] if harm == "bridge" else ["nft", "delete", "table", "inet", table]
    subprocess.run(argv, check=True)
    web.start()
    with netlab.serving(outside):
        assert netlab.asks(web, netlab.FAR4) == netlab.HOST4


def test_the_network_is_made_while_who_makes_it_is_killed(engine: Engine, root: Path, cli: Cli) -> None:
    """The first start of an installation brings the network up: killed anywhere in that, nothing is in the way of the
    next one, and all of it goes with the network."""
    before = netlab.state()
    web = engine.create("busybox", "web", config=(*INIT, "nics.eth0.type=bridged"))
    for moment in range(10):
        kill_start(root, web.id, 0.05 + 0.05 * moment)
        assert cli("repair").returncode == 0
    web.start()
    assert len(netlab.daemons()) == 1
    web.delete(force=True)
    engine.networks.delete("cloison0")
    eventually(lambda: not netlab.difference(before, netlab.state()), 5)
    assert netlab.difference(before, netlab.state()) == {}
