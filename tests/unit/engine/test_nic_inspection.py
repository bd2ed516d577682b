"""What is told of nics: as they are stored, as they are in force, and as they are seen inside."""

from typing import cast

import msgspec

from cloison.engine import nic_inspection
from cloison.engine.engine import Engine
from cloison.engine.records import Claim, Record
from cloison.engine.results import NicInfo
from cloison.spec.config import Config, assign_all
from cloison.spec.network import InterfaceState
from tests.unit.plan import worlds

CLAIM = Claim(0, "02:c1:05:01:02:03", ("10.9.0.2/24",))
LEARNT = Claim(1, "02:c1:05:01:02:04")
SEEN = InterfaceState(2, "eth0", CLAIM.mac, 1500, True, ("10.9.0.2/24", "fd00:9::2/64"), 100, 200, 1, 2, 3, 4)
SEEN_DHCP = msgspec.structs.replace(SEEN, index=3, name="eth1", mac=LEARNT.mac, addresses=("192.0.2.7/24",))
PID = 42


class FakeDriver:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def interfaces(self, pid: int) -> tuple[InterfaceState, ...]:
        self.asked.append(pid)
        return (SEEN, SEEN_DHCP)


class FakeEngine:
    def __init__(self) -> None:
        self.driver = FakeDriver()


def record(*settings: str, live: tuple[str, ...] | None = None) -> Record:
    return msgspec.structs.replace(
        worlds.record(*settings),
        claims={"eth0": CLAIM, "eth1": LEARNT},
        live=None if live is None else assign_all(Config(), live),
    )


def told(engine: FakeEngine, of: Record, pid: int, *, with_counts: bool = True) -> tuple[NicInfo, ...]:
    return nic_inspection.nics(cast(Engine, engine), of, pid, with_counts=with_counts)


def test_of_what_is_stopped_the_claims_are_told_and_nobody_is_asked() -> None:
    engine = FakeEngine()
    [nic] = told(engine, record("nics.eth0.network=lan"), 0)
    assert (nic.mac, nic.addresses, nic.stored, nic.in_force, nic.received_bytes) == (
        CLAIM.mac,
        CLAIM.addresses,
        True,
        False,
        None,
    )
    assert engine.driver.asked == []


def test_of_what_runs_it_is_told_what_is_seen_inside() -> None:
    [nic] = told(FakeEngine(), record("nics.eth0.network=lan"), PID)
    assert (nic.addresses, nic.mtu, nic.received_bytes, nic.sent_dropped, nic.in_force) == (
        SEEN.addresses,
        1500,
        100,
        4,
        True,
    )


def test_a_list_of_instances_enters_no_namespace_where_the_addresses_are_known() -> None:
    engine = FakeEngine()
    [nic] = told(engine, record("nics.eth0.network=lan"), PID, with_counts=False)
    assert (nic.addresses, nic.received_bytes, engine.driver.asked) == (CLAIM.addresses, None, [])


def test_an_address_that_somebody_else_gives_is_looked_for_inside() -> None:
    engine = FakeEngine()
    [nic] = told(engine, record("nics.eth1.parent=br0", "nics.eth1.addresses=dhcp"), PID, with_counts=False)
    assert (nic.addresses, engine.driver.asked) == (("192.0.2.7/24",), [PID])


def test_a_network_of_the_hosts_own_has_nothing_to_look_at() -> None:
    engine = FakeEngine()
    [nic] = told(engine, record("nics.net.type=host"), PID)
    assert (nic.type, nic.mac, nic.addresses, engine.driver.asked) == ("host", None, (), [])


def test_a_nic_that_is_changed_at_the_next_start_is_told_twice() -> None:
    of = record(
        "nics.eth0.network=lan", "nics.eth1.network=lab", live=("nics.eth0.network=lan", "nics.eth1.network=lan")
    )
    found = [(nic.name, nic.network, nic.stored, nic.in_force) for nic in told(FakeEngine(), of, PID)]
    assert found == [("eth0", "lan", True, True), ("eth1", "lan", False, True), ("eth1", "lab", True, False)]
