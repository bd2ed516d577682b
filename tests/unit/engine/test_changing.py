"""`set`: what runs, what is stored, and that both stay as they were when a part of it is refused."""

from pathlib import Path
from typing import cast

import msgspec
import pytest

from cloison.base.errors import Invalid, Kernel, NoSpace, Unsupported, WrongState
from cloison.engine import changing, records, setting
from cloison.engine.changing import Scope
from cloison.engine.engine import Engine
from cloison.engine.instance import Instance
from cloison.engine.layout import layout
from cloison.engine.pools import Pools
from cloison.engine.results import Change
from cloison.engine.store import Store
from cloison.spec.config import Config, assign_all
from cloison.spec.driver import LiveLimits, Observed, State
from cloison.spec.oci import PidsLimits, Resources
from tests.unit.engine.hosts import HostDriver
from tests.unit.plan import worlds


class FakeEngine:
    """An installation with one instance, behind a driver that touches nothing."""

    def __init__(self, root: Path) -> None:
        self.layout = layout(str(root))
        self.layout.make()
        self.store = Store(self.layout.store)
        self.driver = HostDriver()
        self.pools = Pools(cast(Engine, self))

    def leave_ground(self, before: object, after: object) -> None:
        """No nic has anything of this host."""

    def add(self, *settings: str) -> Instance:
        record = worlds.record(*settings)
        with self.store.transaction() as changes:
            records.claim_name(changes, record.name, record.id)
            records.save(changes, record)
        return Instance(cast(Engine, self), record)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


@pytest.fixture
def web(engine: FakeEngine) -> Instance:
    """It runs."""
    engine.driver.observed = Observed(State.RUNNING, 42, 41)
    return engine.add("limits.processes=10")


@pytest.fixture
def stopped(engine: FakeEngine) -> Instance:
    return engine.add("limits.processes=10")


def stored(engine: FakeEngine, key: str) -> str:
    return Instance(cast(Engine, engine), records.load(engine.store, "web")).get(key)


def live(engine: FakeEngine) -> dict[str, str] | None:
    config = records.load(engine.store, "web").live
    if config is None:
        return None
    from cloison.spec.config import items

    return dict(items(config))


def processes(limits: LiveLimits) -> int | None:
    return limits.resources.pids.limit if limits.resources.pids else None


def changes(engine: FakeEngine) -> list[tuple[int | None, int | None]]:
    return [(processes(before), processes(after)) for before, after in engine.driver.changes]


def test_both_are_changed_by_default(engine: FakeEngine, web: Instance) -> None:
    assert web.set("limits.processes=20", "boot.own_clock=on") == Change(("limits.processes",), ("boot.own_clock",))
    assert changes(engine) == [(10, 20)]
    assert stored(engine, "limits.processes") == "20"


def test_live_leaves_alone_what_is_stored(engine: FakeEngine, web: Instance) -> None:
    assert web.set("limits.processes=20", scope="live") == Change(("limits.processes",), ())
    assert changes(engine) == [(10, 20)]
    assert stored(engine, "limits.processes") == "10"
    assert live(engine) == {"limits.processes": "20"}


def test_next_start_leaves_alone_what_runs(engine: FakeEngine, web: Instance) -> None:
    assert web.set("limits.processes=20", scope="next-start") == Change((), ("limits.processes",))
    assert changes(engine) == []
    assert stored(engine, "limits.processes") == "20"
    assert live(engine) == {"limits.processes": "10"}


def test_the_next_change_is_one_of_what_is_in_force(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.processes=20", scope="live")
    web.set("limits.processes=30")
    assert changes(engine) == [(10, 20), (20, 30)]
    assert live(engine) is None


def test_what_waits_for_the_next_start_does_not_come_with_another_change(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.processes=20", scope="next-start")
    web.set("limits.cpu_weight=50")
    assert changes(engine) == [(10, 10)]
    assert stored(engine, "limits.processes") == "20"
    assert live(engine) == {"limits.processes": "10", "limits.cpu_weight": "50"}


def test_a_key_that_cannot_be_live_stays_what_it_was_in_what_runs(engine: FakeEngine, web: Instance) -> None:
    web.set("security.privileged=true")
    record = records.load(engine.store, "web")
    assert (record.config.security.privileged, record.in_force.security.privileged) == (True, False)


def test_what_is_back_where_it_was_differs_no_more(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.processes=20", scope="live")
    web.set("limits.processes=10", scope="live")
    assert live(engine) is None


def test_taking_a_key_back_lifts_the_limit(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.processes=")
    assert changes(engine) == [(10, None)]
    assert stored(engine, "limits.processes") == ""


def test_nothing_is_asked_of_what_runs_where_no_limit_changes(engine: FakeEngine, web: Instance) -> None:
    assert web.set("accounting.project=shop").live == ("accounting.project",)
    assert (engine.driver.changes, engine.driver.checked) == ([], [])


def test_live_is_refused_where_nothing_runs(engine: FakeEngine, stopped: Instance) -> None:
    with pytest.raises(WrongState, match="it is stopped") as caught:
        stopped.set("limits.processes=20", scope="live")
    assert "--next-start" in caught.value.hint
    assert stored(engine, "limits.processes") == "10"


def test_live_is_refused_for_a_key_that_cannot_be(engine: FakeEngine, web: Instance) -> None:
    with pytest.raises(Invalid, match=r"security\.privileged cannot be changed while"):
        web.set("limits.processes=20", "security.privileged=true", scope="live")
    assert (changes(engine), stored(engine, "limits.processes")) == ([], "10")


def test_an_unknown_scope_is_refused(web: Instance) -> None:
    with pytest.raises(Invalid, match="both, live, next-start"):
        web.set("limits.processes=20", scope="soon")


def test_nothing_is_changed_while_it_starts(engine: FakeEngine, web: Instance) -> None:
    engine.driver.observed = Observed(State.STARTING)
    with pytest.raises(WrongState, match="it is starting"):
        web.set("limits.processes=20")
    assert stored(engine, "limits.processes") == "10"


@pytest.mark.parametrize("scope", ["both", "live", "next-start"])
@pytest.mark.parametrize(
    ("bad", "kind"),
    [("limits.cpus=none", Invalid), ("limits.memory=100G", Invalid), ("limits.raw.memory.high=1", Unsupported)],
)
def test_all_or_nothing(engine: FakeEngine, web: Instance, scope: str, bad: str, kind: type[Exception]) -> None:
    engine.driver.refuses["memory.high"] = Unsupported("memory.high is not on cgroup v1")
    with pytest.raises(kind, match=bad):
        web.set("limits.processes=20", bad, scope=scope)
    assert (changes(engine), stored(engine, "limits.processes"), live(engine)) == ([], "10", None)
    assert engine.store.events() == ()


def test_nothing_is_stored_where_the_kernel_refuses(engine: FakeEngine, web: Instance) -> None:
    engine.driver.refuses["live PidsLimits(limit=20)"] = Kernel("the kernel refuses that now")
    with pytest.raises(Kernel):
        web.set("limits.processes=20", "limits.cpu_weight=5")
    assert (changes(engine), stored(engine, "limits.processes"), live(engine)) == ([], "10", None)


@pytest.mark.parametrize(
    ("settings", "path", "said"),
    [
        (("limits.processes=20",), "", "limits.processes=20: the kernel refuses that now"),
        (("limits.processes=20", "limits.cpu_weight=5"), "/sys/fs/cgroup/pids/x/pids.max", "limits.processes=20: the"),
        (("limits.processes=20", "limits.memory=1G"), "/x/memory.limit_in_bytes", "limits.memory=1G: the kernel"),
        (("limits.processes=20", "limits.cpu_weight=5"), "", "the kernel refuses that now"),
    ],
)
def test_what_the_kernel_refuses_is_named_with_its_key_where_that_is_known(
    engine: FakeEngine, web: Instance, settings: tuple[str, ...], path: str, said: str
) -> None:
    engine.driver.refuses["live PidsLimits(limit=20)"] = Kernel("the kernel refuses that now", path=path)
    with pytest.raises(Kernel) as caught:
        web.set(*settings)
    assert str(caught.value).startswith(said)


def test_what_runs_is_taken_back_where_it_cannot_be_stored(
    engine: FakeEngine, web: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NoSpace("the disk is full")

    monkeypatch.setattr(setting, "_save", full)
    with pytest.raises(NoSpace):
        web.set("limits.processes=20")
    assert changes(engine) == [(10, 20), (20, 10)]
    assert stored(engine, "limits.processes") == "10"


def test_the_event_says_what_was_set_and_where(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.processes=20")
    web.set("limits.processes=30", scope="live")
    assert [event.detail for event in engine.store.events()] == ["limits.processes=20", "limits.processes=30 --live"]


def test_a_disk_that_has_gone_does_not_keep_its_limit_from_being_taken_back(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.io.sdb.read_bps=1M")
    del engine.driver.disks["sdb"]
    web.set("limits.io.sdb.read_bps=")
    assert engine.driver.changes[-1] == (LiveLimits(Resources(pids=PidsLimits(10))),) * 2


def test_limits_of_what_is_stopped_are_checked_and_not_written(engine: FakeEngine, stopped: Instance) -> None:
    stopped.set("limits.processes=20")
    assert [processes(limits) for limits in engine.driver.checked] == [20]
    assert changes(engine) == []


def test_a_change_is_made_of_the_configurations_that_it_changes(engine: FakeEngine, web: Instance) -> None:
    web.set("limits.processes=20", scope="live")
    assert [seen(web, scope) for scope in ("both", "live", "next-start")] == [[10, 20], [20], [10]]


def test_a_change_of_what_is_stopped_sees_what_is_stored(engine: FakeEngine, stopped: Instance) -> None:
    assert seen(stopped, "both") == [10]


def test_name_servers_wait_for_a_start_and_go_with_their_nic(engine: FakeEngine) -> None:
    config = assign_all(Config(), ["nics.eth0.type=bridged", "nics.eth1.type=p2p", "nics.eth1.dns=9.9.9.9"])
    record = msgspec.structs.replace(worlds.record(), config=config)
    running = Observed(State.RUNNING, 42, 41)
    waits = changing.wanted(record, running, ("nics.eth0.dns=9.9.9.9", "nics.eth0.mtu=1400"), Scope.BOTH)
    assert (waits.at_once, waits.later) == (("nics.eth0.mtu",), ("nics.eth0.dns",))
    assert waits.live is not None
    assert (waits.stored.nics["eth0"].dns, waits.live.nics["eth0"].dns) == (("9.9.9.9",), ())
    gone = changing.wanted(record, running, ("nics.eth1.dns=", "nics.eth1.type="), Scope.LIVE)
    assert gone.live is not None
    assert list(gone.live.nics) == ["eth0"]
    with pytest.raises(Invalid, match=r"nics\.eth1\.dns cannot be changed while"):
        changing.wanted(record, running, ("nics.eth1.dns=",), Scope.LIVE)


def seen(instance: Instance, scope: str) -> list[int | None]:
    """The limits of the configurations that a change of this scope begins from."""
    found: list[int | None] = []

    def look(configs: tuple[Config, ...]) -> tuple[str, ...]:
        found.extend(config.limits.processes for config in configs)
        return ()

    instance.change(look, scope=scope)
    return found
