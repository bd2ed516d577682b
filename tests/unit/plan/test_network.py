"""Interfaces in, steps out: what is done for each type, and how all of it is taken back."""

from collections.abc import Callable

import msgspec
import pytest

from cloison.base.errors import Invalid
from cloison.kernel.netlink import wire
from cloison.plan.inputs import NetworkPlace
from cloison.plan.mount_steps import Umount
from cloison.plan.network import compile_attach, compile_detach, compile_rules, rules_undo
from cloison.plan.network_steps import LinkUp, Netlink, NetlinkIn, NetlinkOn, RenameLink, Run, UndoLater
from cloison.plan.plan import Plan
from cloison.plan.steps import MISSING, Step, Where
from cloison.plan.text import explain
from cloison.spec.network import Home, Interface, Route
from tests.unit.plan import worlds

Golden = Callable[[str], object]
PLACE = NetworkPlace(worlds.FILES.run_dir, "/usr/sbin/nft")
MAC = "02:c1:05:12:34:56"
BRIDGED = Interface(
    0,
    "bridged",
    "eth0",
    host_name="vc0ffee00n0",
    mac=MAC,
    mtu=1400,
    addresses=("10.0.3.2/24", "fd00::2/64"),
    gateways=("10.0.3.1", "fe80::1"),
    routes=(Route("10.9.0.0/16", "10.0.3.9", 50), Route("default", "192.0.2.1", 700), Route("10.8.0.0/16")),
    master="cloison0",
    master_index=9,
    vlan=12,
    is_isolated=True,
    ingress_bps=10_000_000,
    egress_bps=1_000_000_000,
    files=(("/run/cloison/networks/cloison0/hosts/c0ffee000001-0", "10.0.3.2 web.cloison\n"),),
    nft='{"nftables": []}',
    nft_undo='{"nftables": [{"flush": {"table": {"family": "netdev", "name": "cloison"}}}]}',
)
ROUTED = Interface(
    0,
    "routed",
    "venet0",
    host_name="vc0ffee00n0",
    mac=MAC,
    addresses=("192.0.2.7/24", "2001:db8::7/64"),
    gateways=("169.254.1.1", "fe80::1"),
    proxies=(("192.0.2.7", 2), ("2001:db8::7", 2)),
)
UPON = Interface(1, "macvlan", "lan0", mac=MAC, master="eno1", master_index=3, addresses=("192.0.2.8/24",))
PHYS = Interface(2, "phys", "lent0", host_name="eno2", addresses=("192.0.2.9/24",))
EVERY = {
    "bridged": BRIDGED,
    "routed": ROUTED,
    "p2p": Interface(0, "p2p", "eth0", host_name="vc0ffee00n0", mac=MAC),
    "macvlan": UPON,
    "ipvlan": msgspec.structs.replace(UPON, type="ipvlan", mode="l3s"),
    "vlan": msgspec.structs.replace(UPON, type="vlan", vlan=7),
    "phys": PHYS,
}


def network_of(plan: Plan) -> list[Step]:
    """All that has to do with interfaces, in order."""
    return [action.step for action in plan.actions if isinstance(action.step, Netlink | LinkUp)]


@pytest.mark.parametrize("type_", EVERY)
def test_an_interface_of_every_type_plugged_in(golden: Golden, type_: str) -> None:
    plan = compile_attach("give web an interface", EVERY[type_], PLACE)
    assert explain(plan) == golden(f"net-attach-{type_}")


def test_a_start_with_interfaces(golden: Golden) -> None:
    plan = worlds.start_plan(interfaces=(BRIDGED, UPON, PHYS), image="busybox")
    assert explain(plan) == golden("net-start")


@pytest.mark.parametrize("type_", EVERY)
def test_what_takes_an_interface_away_is_what_would_at_the_end(type_: str) -> None:
    interface = EVERY[type_]
    came = compile_attach("give", interface, PLACE)
    goes = compile_detach("take", interface, PLACE, is_late=True)
    assert [action.step for action in goes.actions] == [step for step, _final in came.undo()]


@pytest.mark.parametrize("type_", EVERY)
def test_one_of_the_start_is_taken_away_as_the_start_would(type_: str) -> None:
    undo = [step for step, _final in worlds.start_plan(interfaces=(EVERY[type_],)).undo()]
    taken = [action.step for action in compile_detach("take", EVERY[type_], PLACE, is_late=False).actions]
    rules = rules_undo(PLACE, EVERY[type_])  # these may change: see `NetworkPlace.later`
    assert taken[: len(rules)] == list(rules)
    goes = taken[len(rules) :]
    assert undo[: len(goes)] == goes


RULED = msgspec.structs.replace(BRIDGED, ingress_bps=0, egress_bps=0, is_isolated=False, nft="{}", nft_undo="{}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ingress_bps": 8000}, "qdisc replace dev vc0ffee00n0 root tbf rate 8000bit burst 16384"),
        ({"is_isolated": True}, "bridge link set dev vc0ffee00n0 isolated on"),
        ({"egress_bps": 8000}, "link add qc0ffee00n0 up type ifb; qdisc replace dev qc0ffee00n0 root tbf rate 8000bit"),
    ],
)
def test_what_changes_in_an_interface_that_stays_can_be_changed_back(changes: dict[str, object], words: str) -> None:
    there = msgspec.structs.replace(RULED, **changes)
    plan = compile_rules("change", RULED, there, PLACE)
    first, *rest = (action.step for action in plan.actions)
    assert isinstance(first, Netlink)
    assert first.what.startswith(words)
    assert [type(step) for step in rest] == [Run]
    undone = [step for step, _final in plan.undo()]
    again = [action.step for action in compile_rules("back", there, RULED, PLACE).actions]
    assert sorted(map(str, undone)) == sorted(map(str, again))


def test_a_queue_is_made_before_rules_lead_to_it_and_goes_after_them() -> None:
    limited = msgspec.structs.replace(RULED, egress_bps=8000)
    for before, after, kinds in ((RULED, limited, [Netlink, Run]), (limited, RULED, [Run, Netlink])):
        assert [type(action.step) for action in compile_rules("change", before, after, PLACE).actions] == kinds


def test_without_interfaces_there_is_one_step_for_the_loopback() -> None:
    assert network_of(worlds.start_plan()) == [LinkUp("lo")]


def test_without_a_loopback_there_is_none() -> None:
    assert network_of(worlds.start_plan(is_loopback_up=False)) == []
    (_made, up) = network_of(worlds.start_plan(interfaces=(EVERY["p2p"],), is_loopback_up=False))
    assert isinstance(up, Netlink)
    assert " lo " not in up.what


def test_every_batch_is_sent_by_who_may() -> None:
    """What concerns the host is sent by the launcher before anything runs inside; the rest by the new process."""
    plan = worlds.start_plan(interfaces=(BRIDGED, UPON))
    where = [(action.where, action.step.what.split()[1]) for action in plan.actions if isinstance(action.step, Netlink)]
    assert where == [(Where.HOST, "add")] * 3 + [(Where.INSIDE, "set")]  # the veth, its queue, the macvlan


def test_rules_are_set_when_the_interface_is_there_and_gone_before_it_goes() -> None:
    plan = compile_attach("give", BRIDGED, PLACE)
    steps = [type(action.step) for action in plan.actions]
    undo = [type(step) for step, _final in plan.undo()]
    assert steps.index(Run) > steps.index(Netlink)
    assert undo.index(Run) < undo.index(Netlink)


def test_a_lent_interface_goes_home_before_the_namespace_is_let_go_of() -> None:
    undo = [type(step) for step, _final in compile_attach("give", PHYS, PLACE).undo()]
    assert undo == [NetlinkIn, RenameLink, Netlink, Umount]


def test_a_lent_interface_is_made_what_it_was_once_it_has_its_name() -> None:
    home = Home("02:00:00:00:00:01", 1400, True, ("192.0.2.1/24",))
    lent = msgspec.structs.replace(PHYS, home=home)
    undo = [step for step, _final in compile_attach("give", lent, PLACE).undo()]
    assert [type(step) for step in undo] == [NetlinkIn, RenameLink, NetlinkOn, Netlink, Umount]
    assert isinstance(undo[2], NetlinkOn)
    assert undo[2].what == "link set dev eno2 address 02:00:00:00:00:01 mtu 1400 up; addr add 192.0.2.1/24"
    taken = compile_detach("take", PHYS, PLACE, is_late=True, written=undo)
    assert [action.step for action in taken.actions] == undo


def test_what_came_later_is_undone_first() -> None:
    undo = [step for step, _final in worlds.start_plan(interfaces=(UPON,)).undo()]
    assert undo.index(UndoLater(PLACE.later)) > undo.index(Umount(PLACE.hold(1)))
    assert undo.index(UndoLater(PLACE.later)) < len(undo) - 3


@pytest.mark.parametrize("type_", ["macvlan", "phys"])
def test_the_undo_of_a_start_touches_nothing_of_one_that_came_later_with_its_number(type_: str) -> None:
    """It is carried out first: the namespace of the later one would be let go of before that has been taken out."""
    start = {step for step, _final in worlds.start_plan(interfaces=(EVERY[type_],)).undo()}
    late = [step for step, _final in compile_attach("give", EVERY[type_], PLACE).undo()]
    assert start.isdisjoint(late)


def test_a_gateway_that_is_no_neighbour_is_taken_to_be_on_the_link() -> None:
    (step,) = [
        action.step
        for action in compile_attach("give", BRIDGED, PLACE).actions
        if isinstance(action.step, Netlink) and "addr add" in action.step.what
    ]
    routes = [words for words in step.what.split("; ") if words.startswith("route add")]
    assert [words.endswith(" onlink") for words in routes] == [False, False, False, True, False]


def test_many_addresses_are_several_batches_without_a_word_lost() -> None:
    addresses = tuple(f"10.0.{number // 200}.{number % 200 + 1}/8" for number in range(250))
    plan = compile_attach("give", msgspec.structs.replace(EVERY["p2p"], addresses=addresses), PLACE)
    batches = [action.step for action in plan.actions if isinstance(action.step, Netlink) and action.step.ns == 0]
    assert [len(list(wire.frames(step.messages))) for step in batches] == [100, 100, 51]


def test_the_bridge_keeps_its_own_mac_address() -> None:
    """It would take the lowest of its ports."""
    made = next(a.step for a in compile_attach("give", BRIDGED, PLACE).actions if isinstance(a.step, Netlink))
    assert b"\xfe\xc1\x05\x12\x34\x56" in made.messages
    assert b"\x02\xc1\x05\x12\x34\x56" in made.messages


def test_indexes_differ_from_those_that_the_kernel_gives_and_from_one_another() -> None:
    found = {NetworkPlace(f"/run/cloison/{id_:012x}").index(number) for id_ in range(50) for number in range(4)}
    assert len(found) == 200
    assert all(1 << 30 <= index < 1 << 31 for index in found)


def test_a_lent_interface_is_known_by_a_name_that_ioctl_takes() -> None:
    assert len(PLACE.altname(123)) <= 15


@pytest.mark.parametrize("nic", [BRIDGED, UPON], ids=["bridged", "macvlan"])
def test_what_it_is_on_has_to_be_there(nic: Interface) -> None:
    with pytest.raises(Invalid, match=f"needs {nic.master}, which this host does not have"):
        compile_attach("give", msgspec.structs.replace(nic, master_index=0), PLACE)


def test_what_is_made_may_be_gone_when_it_is_deleted() -> None:
    gone = next(s for s, _ in compile_attach("give", BRIDGED, PLACE).undo() if isinstance(s, Netlink))
    assert gone.ignore == MISSING
