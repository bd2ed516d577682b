"""The launcher killed at every step that has to do with networks: after `repair` the host is as it was, and the same
works again. See tests/integration/test_faults.py for the hooks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import CloisonError, Engine, Instance
from tests.integration.conftest import eventually
from tests.integration.network import netlab
from tests.integration.network.conftest import INIT, Nicked
from tests.integration.network.netlab import HERE

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.timeout(600)]
KINDS = ("netlink", "netlink_in", "run", "write_file", "move_mount", "write", "rename_link", "clone", "monitor")
RICH = (
    "nics.eth0.type=bridged",
    "nics.eth0.rules=deny in tcp 81",
    "nics.eth0.limits.egress=100Mbit",
    "nics.eth0.limits.ingress=100Mbit",
    "nics.eth0.security.ip_filter=true",
    "ports.8080/tcp=80@eth0",
    "nics.r0.type=routed",
    f"nics.r0.parent={netlab.UPLINK}",
    "nics.r0.addresses=203.0.113.50/32,2001:db8::50/128",
    "nics.m0.type=macvlan",
    f"nics.m0.parent={netlab.UPLINK}",
    "nics.m0.addresses=203.0.113.60/32",
    "nics.m0.gateway=none",
    "nics.p0.type=phys",
    "nics.p0.parent=card0",
    "nics.p0.addresses=10.88.0.2/24",
    "nics.p0.gateway=none",
)


@pytest.fixture(autouse=True)
def hooked(launcher_test: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISON_LAUNCHER", str(launcher_test))


@pytest.fixture
def card(lab: netlab.Lab) -> Iterator[None]:
    """An interface of the host that can be lent."""
    quiet = "; ".join(f"sysctl -qw net.ipv6.conf.card{number}.disable_ipv6=1" for number in (0, 1))
    lab.host.do(f"ip link add card0 type veth peer name card1; {quiet}; ip link set card1 up")
    yield
    lab.host.do("ip link delete card1")


@pytest.fixture
def rich(card: None, engine: Engine) -> Iterator[Instance]:
    """One with a nic of every kind that this kernel has; stopped, with its networks up."""
    web = engine.create("busybox", "web", config=(*INIT, *RICH))
    web.start()
    web.stop()
    yield web
    web.delete(force=True)


def refused(act: Callable[[], object], hook: str, step: int) -> bool:
    """Do it with that hook; whether it failed, in words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hook, str(step))
        try:
            act()
        except CloisonError:
            return True
    return False


def lost(before: dict[str, object], moment: object) -> list[str]:
    """What is not as before."""
    eventually(lambda: not netlab.difference(before, netlab.state()), 5)
    return [f"{moment}: {key} {value}" for key, value in netlab.difference(before, netlab.state()).items()]


def of_networks(instance: Instance) -> list[int]:
    """The steps of a start that make something of its nics, or bring it up inside."""
    chapters = ("the interface ", "the network")
    actions = instance.explain().actions
    return [number for number, each in enumerate(actions) if each.why.startswith(chapters)]


def start_killed(engine: Engine, web: Instance, hook: str, steps: list[int]) -> list[str]:
    before, wrong = netlab.state(), []
    for step in steps:
        if not refused(web.start, hook, step):
            wrong.append(f"{hook}={step}: it started")
            web.stop(force=True)
        engine.repair()
        wrong += lost(before, f"{hook}={step}")
    web.start()
    with netlab.serving(web):
        assert "E" not in netlab.asks(HERE, netlab.HOST4, 8080)
    web.stop(force=True)
    return wrong + lost(before, "at last")


def test_a_start_killed_at_some_steps(engine: Engine, rich: Instance) -> None:
    steps = of_networks(rich)
    assert len(steps) > 20
    assert start_killed(engine, rich, "CLOISON_KILL_AFTER", steps[::5]) == []


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["CLOISON_KILL_BEFORE", "CLOISON_KILL_AFTER"])
def test_a_start_killed_at_every_step(hook: str, engine: Engine, rich: Instance) -> None:
    assert start_killed(engine, rich, hook, of_networks(rich)) == []


@pytest.mark.slow
def test_the_monitor_killed_in_every_undo_step(engine: Engine, rich: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    before, wrong = netlab.state(), []
    count = len(list(rich.explain().undo()))
    for step in range(count):
        with monkeypatch.context() as patch:
            patch.setenv("CLOISON_KILL_UNDO", str(step))
            rich.start()
        rich.kill("SIGKILL")
        rich.wait(20)
        engine.repair()
        wrong += lost(before, step)
    assert wrong == []


def until_done(act: Callable[[], object], hook: str, after: Callable[[int], None]) -> int:
    """Do it, killed at the first step, the second, ..., until it has no more; how often it was killed."""
    step = 0
    while refused(act, hook, step):
        after(step)
        step += 1
        assert step < 200
    return step


def test_a_network_that_comes_up_killed_at_every_step(engine: Engine) -> None:
    before, wrong = netlab.state(), list[str]()
    engine.networks.create("lan", ["rules=deny in tcp 25"])

    def after(step: int) -> None:
        if step % 2:
            engine.repair()
            engine.networks.up("lan")
        engine.networks.delete("lan")
        wrong.extend(lost(before, step))
        engine.networks.create("lan", ["rules=deny in tcp 25"])

    assert until_done(lambda: engine.networks.up("lan"), "CLOISON_KILL_BEFORE", after) > 20
    engine.networks.delete("lan")
    assert wrong + lost(before, "at last") == []


@pytest.mark.parametrize("how", ["deleted again", "repaired"])
def test_a_network_that_is_taken_down_killed_at_every_step(how: str, engine: Engine) -> None:
    before, wrong = netlab.state(), list[str]()

    def up() -> None:
        engine.networks.create("lan", ["rules=deny in tcp 25"])
        engine.networks.up("lan")

    def after(step: int) -> None:
        if how == "repaired":
            with engine.store.transaction() as changes:
                changes.delete("networks/lan")
            engine.repair()
        else:
            engine.networks.delete("lan")
        wrong.extend(lost(before, step))
        up()

    up()
    assert until_done(lambda: engine.networks.delete("lan"), "CLOISON_KILL_BEFORE", after) > 5
    assert wrong + lost(before, "at last") == []


LATE = {
    "bridged": ("nics.late.network=back", "nics.late.rules=deny in tcp 81", "nics.late.limits.egress=10Mbit"),
    "routed": ("nics.late.type=routed", f"nics.late.parent={netlab.UPLINK}", "nics.late.addresses=203.0.113.51/32"),
    "macvlan": ("nics.late.type=macvlan", f"nics.late.parent={netlab.UPLINK}", "nics.late.addresses=none"),
    "phys": ("nics.late.type=phys", "nics.late.parent=card0", "nics.late.addresses=none"),
}


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("kind", LATE)
def test_a_nic_that_comes_and_goes_killed_at_every_step(kind: str, engine: Engine, nicked: Nicked) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    web = nicked()
    web.set(*LATE[kind])
    web.nics.remove("late")
    before, inside, wrong = netlab.state(), netlab.link_names(web), list[str]()

    def absent(step: int) -> None:
        engine.repair()
        wrong.extend(lost(before, f"add {step}"))
        wrong.extend(f"add {step}: inside {each}" for each in netlab.link_names(web) ^ inside)

    assert until_done(lambda: web.set(*LATE[kind]), "CLOISON_KILL_BEFORE", absent) > 2
    until_done(lambda: web.nics.remove("late"), "CLOISON_KILL_BEFORE", lambda _step: None)
    wrong += lost(before, "removed")
    wrong += [f"removed: inside {each}" for each in netlab.link_names(web) ^ inside]
    assert wrong == []
    web.set(*LATE[kind])
    web.stop(force=True)
    assert "late" not in netlab.link_names(HERE)
