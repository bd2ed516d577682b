"""Interfaces of every type as plans make them, with ip(8) on both sides as the witness; what the engine makes of a
configuration is not asked here."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloison import Engine, Instance
from cloison.base.errors import CloisonError
from cloison.plan.inputs import NetworkPlace
from cloison.plan.start import compile_start
from cloison.spec.network import Interface, Route
from tests.integration.conftest import QUICK, Launch, eventually, init_of
from tests.patience import patient

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]

Nics = Callable[[NetworkPlace], tuple[Interface, ...]]
_numbers = itertools.count()


def ip(*words: str, inside: Instance | None = None) -> Any:
    enter = ["nsenter", "--net", "--target", str(init_of(inside))] if inside else []
    done = subprocess.run([*enter, "ip", "-json", "-details", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def names(inside: Instance | None = None) -> set[str]:
    return {link["ifname"] for link in ip("link", inside=inside)}


def link(name: str, inside: Instance | None = None) -> Any:
    return ip("link", "show", "dev", name, inside=inside)[0]


def addresses(name: str, inside: Instance) -> set[str]:
    found = ip("addr", "show", "dev", name, inside=inside)[0]["addr_info"]
    return {f"{each['local']}/{each['prefixlen']}" for each in found if each["scope"] == "global"}


def pings(target: str, inside: Instance | None = None) -> bool:
    enter = ["nsenter", "--net", "--target", str(init_of(inside))] if inside else []
    return (
        subprocess.run([*enter, "busybox", "ping", "-c1", "-W2", target], capture_output=True, check=False).returncode
        == 0
    )


class Bridge:
    """A bridge of the host that only this test uses; 10.203.N.1 and fd42:N::1 are its own."""

    def __init__(self) -> None:
        self.subnet = os.getpid() % 200 + 1
        self.name = f"clt{os.getpid()}x{next(_numbers)}"[:15]
        for words in (
            f"link add {self.name} type bridge",
            f"addr add 10.203.{self.subnet}.1/24 dev {self.name}",
            f"-6 addr add fd42:{self.subnet}::1/64 dev {self.name} nodad",
            f"link set {self.name} up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        self.index = int(link(self.name)["ifindex"])

    def delete(self) -> None:
        subprocess.run(["ip", "link", "del", self.name], check=True)

    def nic(self, place: NetworkPlace, number: int = 0, **changed: Any) -> Interface:
        host = number + 2
        fields: dict[str, Any] = {
            "number": number,
            "type": "bridged",
            "name": f"eth{number}",
            "host_name": f"v{place.run_dir[-12:-4]}n{number}",
            "mac": f"02:c1:05:00:{number:02x}:{int(place.run_dir[-2:], 16):02x}",
            "addresses": (f"10.203.{self.subnet}.{host}/24", f"fd42:{self.subnet}::{host}/64"),
            "gateways": (f"10.203.{self.subnet}.1", f"fd42:{self.subnet}::1"),
            "master": self.name,
            "master_index": self.index,
        }
        return Interface(**{**fields, **changed})


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    found = Bridge()
    yield found
    found.delete()


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two interfaces of the host that are one another's other end: the first is to be lent, or built upon.

    A test asks for it before it asks for instances: so it goes after they have ended."""
    one, other = (f"cl{end}{os.getpid()}x{next(_numbers)}"[:15] for end in "ab")
    subprocess.run(["ip", "link", "add", one, "up", "type", "veth", "peer", other], check=True)
    subprocess.run(["ip", "addr", "add", "10.204.0.1/24", "dev", other], check=True)
    subprocess.run(["ip", "link", "set", other, "up"], check=True)
    yield one, other
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["ip", "link", "del", other], check=True)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[Nics], None]:
    """Instances that are started from now on have these interfaces."""

    def give(nics: Nics) -> None:
        def compiled(*words: Any, **options: Any) -> Any:
            place = NetworkPlace(options["files"].run_dir)
            return compile_start(*words, **{**options, "interfaces": nics(place)})

        monkeypatch.setattr("cloison.runtime.starting.compile_start", compiled)

    return give


Given = Callable[[Nics], None]


def place_of(engine: Engine, instance: Instance) -> NetworkPlace:
    return NetworkPlace(f"{engine.layout.run}/{instance.id}")


# --- bridged ---------------------------------------------------------------------------------------------


def test_a_bridged_interface_is_there_before_its_init(given: Given, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place, mtu=1400, is_isolated=True),))
    web = launch(*QUICK)
    inside = link("eth0", web)
    assert (inside["ifindex"], inside["mtu"]) == (2, 1400)
    assert {"UP", "LOWER_UP"} <= set(inside["flags"])
    assert addresses("eth0", web) == {f"10.203.{bridge.subnet}.2/24", f"fd42:{bridge.subnet}::2/64"}
    gateways = {route.get("gateway") for route in ip("route", inside=web) if route["dst"] == "default"}
    assert gateways == {f"10.203.{bridge.subnet}.1"}
    outer = next(each for each in ip("link", "show", "master", bridge.name))
    assert (outer["mtu"], outer["linkinfo"]["info_slave_data"]["isolated"]) == (1400, True)
    assert outer["address"].startswith("fe:c1:05")


def test_both_families_reach_the_host(given: Given, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place),))
    web = launch(*QUICK)
    assert pings(f"10.203.{bridge.subnet}.1", web)
    assert pings(f"fd42:{bridge.subnet}::1", web)
    assert pings("127.0.0.1", web)


def test_nothing_is_left_of_it_when_stop_is_done(given: Given, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place),))
    before = names()
    web = launch(*QUICK)
    for _ in range(5):
        assert len(names() - before) == 1
        web.stop()
        assert names() == before
        web.start()


def test_a_start_that_fails_leaves_nothing(given: Given, launch: Launch, bridge: Bridge) -> None:
    before = names()
    twice = (Route("10.99.0.0/16"), Route("10.99.0.0/16"))
    given(lambda place: (bridge.nic(place), bridge.nic(place, 1, routes=twice)))
    with pytest.raises(CloisonError, match="File exists"):
        launch(*QUICK)
    assert names() == before


def test_a_refused_message_is_told_in_words(given: Given, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place, master_index=(1 << 31) - 1),))
    with pytest.raises(CloisonError, match=r"link add v\w+n0 up type veth peer eth0 .* master clt"):
        launch(*QUICK)


def test_a_dead_monitor_leaves_nothing_behind_after_repair(given: Given, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place),))
    before = names()
    web = launch(*QUICK)
    os.kill(web.observe().monitor_pid, signal.SIGKILL)
    eventually(lambda: web.state == "stuck", patient(5))
    web.repair()
    assert names() == before


def test_a_rate_is_set_on_the_host_s_end(given: Given, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place, ingress_bps=10_000_000),))
    launch(*QUICK)
    (outer,) = ip("link", "show", "master", bridge.name)
    done = subprocess.run(["tc", "-json", "qdisc", "show", "dev", outer["ifname"]], capture_output=True, check=True)
    (found,) = json.loads(done.stdout)
    assert (found["kind"], found["options"]["rate"]) == ("tbf", 1_250_000)  # bytes


def test_files_are_written_before_and_gone_after(given: Given, launch: Launch, bridge: Bridge, tmp_path: Path) -> None:
    given(lambda place: (bridge.nic(place, files=((f"{tmp_path}/lease", "a line\n"),)),))
    web = launch(*QUICK)
    assert (tmp_path / "lease").read_text() == "a line\n"
    web.stop()
    assert not (tmp_path / "lease").exists()


# --- the other types -------------------------------------------------------------------------------------


def test_a_routed_interface_has_the_host_as_its_only_neighbour(given: Given, launch: Launch) -> None:
    def nics(place: NetworkPlace) -> tuple[Interface, ...]:
        name = f"v{place.run_dir[-12:-4]}n0"
        own = ("10.205.1.7/24", "fd43::7/64")
        return (Interface(0, "routed", "venet0", host_name=name, addresses=own, gateways=("169.254.1.1", "fe80::1")),)

    before = names()
    given(nics)
    web = launch(*QUICK)
    assert addresses("venet0", web) == {"10.205.1.7/32", "fd43::7/128"}
    for address in ("10.205.1.7", "fd43::7"):
        assert pings(address)
    (name,) = names() - before
    assert Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra").read_text() == "0\n"
    assert pings("169.254.1.1", web)
    assert {route["dst"] for route in ip("route", inside=web)} == {"default"}
    web.stop()
    assert names() == before


def test_a_macvlan_is_on_its_parent_and_can_be_had_again_at_once(
    given: Given, pair: tuple[str, str], launch: Launch
) -> None:
    index = int(link(pair[0])["ifindex"])
    given(
        lambda _place: (
            Interface(
                0,
                "macvlan",
                "lan0",
                mac="02:c1:05:00:09:09",
                mode="private",
                addresses=("10.204.0.2/24",),
                master=pair[0],
                master_index=index,
            ),
        )
    )
    web = launch(*QUICK)
    for _ in range(5):
        found = link("lan0", web)
        assert (found["address"], found["linkinfo"]["info_data"]["mode"]) == ("02:c1:05:00:09:09", "private")
        assert pings("10.204.0.1", web)
        web.restart()  # with the same MAC address, which the kernel grants one of them at a time


def test_a_lent_interface_comes_home_with_its_name(given: Given, pair: tuple[str, str], launch: Launch) -> None:
    given(lambda _place: (Interface(0, "phys", "eth0", host_name=pair[0], addresses=("10.204.0.2/24",)),))
    web = launch(*QUICK)
    for _ in range(3):
        assert pair[0] not in names()
        assert pings("10.204.0.1", web)
        web.stop()
        assert "altnames" not in link(pair[0])
        web.start()


def test_a_lent_interface_comes_home_after_a_dead_monitor(given: Given, pair: tuple[str, str], launch: Launch) -> None:
    given(lambda _place: (Interface(0, "phys", "eth0", host_name=pair[0]),))
    web = launch(*QUICK)
    os.kill(web.observe().monitor_pid, signal.SIGKILL)
    eventually(lambda: web.state == "stuck", patient(5))
    web.repair()
    assert "altnames" not in link(pair[0])


def test_a_lent_interface_that_the_guest_renamed_comes_home(
    given: Given, pair: tuple[str, str], launch: Launch
) -> None:
    given(lambda _place: (Interface(0, "phys", "eth0", host_name=pair[0]),))
    web = launch(*QUICK)
    for words in ("set eth0 down", "set eth0 name other", "property add dev other altname mine"):
        ip("link", *words.split(), inside=web)
    web.stop()
    assert link(pair[0])["altnames"] == ["mine"]


def test_an_instance_ends_whose_lent_interface_was_pulled_out(
    given: Given, pair: tuple[str, str], launch: Launch
) -> None:
    given(lambda _place: (Interface(0, "phys", "eth0", host_name=pair[0]),))
    web = launch(*QUICK)
    subprocess.run(["ip", "link", "del", pair[1]], check=True)
    web.stop(force=True)
    ended = web.info().exit
    assert ended is not None and ended.undo_failed == 0


# --- plugged in while it runs ----------------------------------------------------------------------------


@pytest.fixture
def plain(launch: Launch) -> Instance:
    return launch(*QUICK, name="plain")


def test_an_interface_comes_and_goes_while_it_runs(engine: Engine, plain: Instance, bridge: Bridge) -> None:
    before = names()
    nic = bridge.nic(place_of(engine, plain), 3)
    for _ in range(2):
        engine.driver.attach_interface(plain.id, plain.name, nic)
        assert pings(f"10.203.{bridge.subnet}.1", plain)
        assert names(plain) == {"lo", "eth3"}
        engine.driver.detach_interface(plain.id, plain.name, nic)
        assert (names(plain), names()) == ({"lo"}, before)
    assert not Path(place_of(engine, plain).later).exists()


def test_one_that_came_later_goes_with_the_instance(
    engine: Engine, plain: Instance, bridge: Bridge, pair: tuple[str, str], tmp_path: Path
) -> None:
    before = names()
    place = place_of(engine, plain)
    lent = Interface(1, "phys", "lent0", host_name=pair[0], files=((f"{tmp_path}/lease", "x"),))
    for nic in (bridge.nic(place), lent):
        engine.driver.attach_interface(plain.id, plain.name, nic)
    assert names(plain) == {"lo", "eth0", "lent0"}
    plain.stop()
    assert names() == before
    assert list(tmp_path.glob("lease")) == []
    plain.start()
    assert names(plain) == {"lo"}


def test_one_that_came_later_goes_by_repair(engine: Engine, plain: Instance, pair: tuple[str, str]) -> None:
    lent = Interface(1, "phys", "lent0", host_name=pair[0])
    engine.driver.attach_interface(plain.id, plain.name, lent)
    os.kill(plain.observe().monitor_pid, signal.SIGKILL)
    eventually(lambda: plain.state == "stuck", patient(5))
    plain.repair()
    assert pair[0] in names()


def test_one_of_the_start_can_be_taken_away(given: Given, engine: Engine, launch: Launch, bridge: Bridge) -> None:
    given(lambda place: (bridge.nic(place),))
    before = names()
    web = launch(*QUICK)
    engine.driver.detach_interface(web.id, web.name, bridge.nic(place_of(engine, web)))
    assert (names(web), names()) == ({"lo"}, before)


def test_one_that_cannot_come_leaves_nothing(engine: Engine, plain: Instance, bridge: Bridge) -> None:
    before = names()
    nic = bridge.nic(place_of(engine, plain), routes=(Route("10.99.0.0/16"), Route("10.99.0.0/16")))
    with pytest.raises(CloisonError, match="File exists"):
        engine.driver.attach_interface(plain.id, plain.name, nic)
    assert (names(plain), names()) == ({"lo"}, before)
    assert not Path(place_of(engine, plain).later).exists()


def test_a_guest_that_took_the_next_index_is_no_obstacle(engine: Engine, plain: Instance, bridge: Bridge) -> None:
    ip("link", "add", "dev", "own", "index", "2", "type", "bridge", inside=plain)
    engine.driver.attach_interface(plain.id, plain.name, bridge.nic(place_of(engine, plain)))
    assert names(plain) == {"lo", "own", "eth0"}
