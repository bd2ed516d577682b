"""An interface that the host lends comes home as it was: name, MAC address, MTU, up or down, and its addresses."""

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from cloison import Instance
from cloison.plan.text import call
from tests.integration.conftest import eventually, init_of
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]

MAC = "02:00:00:00:0e:0e"
PHYS = ("nics.eth0.type=phys", "nics.eth0.parent=card0")
ADDRESSES = ("10.88.0.7/24", "10.88.0.8/24", "192.0.2.77/32", "2001:db8:88::7/64")


@pytest.fixture
def card(lab: netlab.Lab) -> Iterator[None]:
    """card0 has addresses, two of them leased, and somebody at its other end."""
    lines = (
        f"ip link add card0 address {MAC} mtu 1400 type veth peer name card1",
        "ip link set card1 up",
        "ip link set card0 up",
        *(f"ip address add {each} dev card0" for each in ADDRESSES),
        "ip address add 10.88.0.99/24 dev card0 valid_lft 1000 preferred_lft 1000",
        "ip address add 2001:db8:88::99/64 dev card0 valid_lft 1000 preferred_lft 1000",
    )
    lab.host.do("\n".join(lines))
    yield
    lab.host.do("ip link delete card1")


def card0() -> Any:
    """What ip(8) says of it, but for what it was leased."""
    said = netlab.link(HERE, "card0")
    own = [each for each in netlab.addresses(HERE, "card0") if ".99/" not in each and "::99/" not in each]
    return said["address"], said["mtu"], "UP" in said["flags"], said.get("altnames"), sorted(own)


def changed_inside(web: Instance) -> None:
    enter = ("nsenter", "--net", "--target", str(init_of(web)))
    for words in ("set eth0 down", "set eth0 address 02:00:00:00:aa:aa mtu 1290", "set eth0 name mine"):
        subprocess.run([*enter, "ip", "link", *words.split()], check=True)


def end(web: Instance, how: str) -> None:
    match how:
        case "stop":
            web.stop()
        case "kill":
            web.kill("KILL")
            web.wait(10)
        case "delete":
            web.delete(force=True)
        case "remove":
            web.nics.remove("eth0")
        case "exchange":
            web.set("nics.eth0.type=bridged", "nics.eth0.parent=", "nics.eth0.mac=", "nics.eth0.mtu=")
        case "repair":
            os.kill(web.observe().monitor_pid, signal.SIGKILL)
            assert eventually(lambda: web.state == "stuck", 5)
            web.repair()


@pytest.mark.parametrize("how", ["stop", "kill", "delete", "remove", "exchange", "repair"])
@pytest.mark.parametrize("came", ["at the start", "later"])
def test_it_comes_home_as_it_was(came: str, how: str, nicked: Nicked, card: None) -> None:
    before = card0()
    assert before == (MAC, 1400, True, None, sorted(ADDRESSES))
    other = ("nics.eth0.mac=02:00:00:00:bb:bb", "nics.eth0.mtu=1300")
    web = nicked("web", *PHYS, *other) if came == "at the start" else nicked("web", "nics.eth1.type=bridged")
    if came == "later":
        web.nics.add("eth0", *(each.removeprefix("nics.eth0.") for each in (*PHYS, *other)))
    inside = netlab.link(web, "eth0")
    assert (inside["address"], inside["mtu"]) == ("02:00:00:00:bb:bb", 1300)
    assert netlab.addresses(web, "eth0") == []
    changed_inside(web)
    end(web, how)
    assert eventually(lambda: "card0" in netlab.link_names(HERE) and card0() == before, 5), card0()
    assert "10.88.0.0/24 via - dev card0" in netlab.routes(HERE)


def test_one_that_was_down_comes_home_down(nicked: Nicked, card: None, lab: netlab.Lab) -> None:
    lab.host.do("ip link set card0 down")
    before = card0()
    assert not before[2]
    web = nicked("web", *PHYS)
    web.stop()
    assert card0() == before


def test_each_start_looks_anew(nicked: Nicked, card: None, lab: netlab.Lab) -> None:
    web = nicked("web", *PHYS)
    web.stop()
    lab.host.do("ip address flush dev card0 scope global; ip link set card0 mtu 1350")
    before = card0()
    web.start()
    changed_inside(web)
    web.stop()
    assert (before[1], before[4]) == (1350, [])
    assert card0() == before


def test_the_plan_says_so(nicked: Nicked, card: None) -> None:
    web = nicked("web", *PHYS)
    web.stop()
    said = [call(step) for action in web.explain().actions for step in action.undo]
    assert any(f"link set dev card0 address {MAC} mtu 1400 up; addr add 10.88.0.7/24; " in each for each in said)
