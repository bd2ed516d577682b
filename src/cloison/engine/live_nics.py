"""The nics and ports of a running instance: from those in force to those that are wanted, all of them or none.

Ports, packet rules and rates change where they are, and connections stay. Any other change takes the nic away and gives
it back, under its old MAC address, with other values.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Bug, Invalid
from cloison.engine import acceptance, interfaces, rewiring
from cloison.engine.records import Record
from cloison.engine.wiring import Networks
from cloison.network.nft import exchange
from cloison.spec.config import Config, network_of
from cloison.spec.network import Interface
from cloison.spec.nics import HOST, NONE

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

_Step = Callable[[], None]


def accept(engine: "Engine", record: Record, live: Config) -> None:
    """Raise Invalid, Exists, Conflict or NotFound for nics and ports that the running instance cannot have. Afterwards
    their networks are up, which may take a while: nobody has to wait for it who wants to write to the store."""
    present = record.in_force
    kinds = network_of(present), network_of(live)
    if present.nics != live.nics and (HOST in kinds or NONE in kinds):
        raise Invalid(
            f"nics: what runs cannot go from the network {kinds[0]} to {kinds[1]}", hint="use --next-start: cloison set"
        )
    acceptance.accept(engine, live, before=present)
    for name in sorted({nic.on for nic in live.nics.values() if nic.on}):
        Networks(engine).up(name)


@contextlib.contextmanager
def changed(engine: "Engine", before: Record, after: Record) -> Iterator[None]:
    """The nics of what runs are those in force in `after`; those of `before`, when something goes wrong inside."""
    done: list[_Step] = []
    rewiring.note(engine, before, after)
    try:
        for change, back in _steps(engine, _in_force(before), _in_force(after)):
            change()
            done.append(back)
        yield
    except BaseException as problem:
        for back in reversed(done):
            back()
        if not _is_left(problem):
            rewiring.forget(engine, before)
        raise
    rewiring.forget(engine, before)


def _is_left(problem: BaseException) -> bool:
    """Whether who was to take back what a dead launcher had done has died, too: the next command tries again."""
    return isinstance(problem, Bug) and isinstance(problem.__context__, Bug)


def take_back(engine: "Engine", before: Record, after: Record) -> None:
    """The nics of what runs are those in force in `before`, however far somebody came who has died. Those that were to
    be exchanged are made anew."""
    before, after = _in_force(before), _in_force(after)
    old = _interfaces(engine, before)
    new = _interfaces(engine, after)
    driver, instance_id, name = engine.driver, before.id, before.name
    touched, ruled = _touched(before, after, old, new)
    for nic in touched:
        if nic in ruled:
            driver.change_rules(instance_id, name, *_exchanged(new[nic], old[nic]))
    for nic in touched:
        for each in (new.get(nic), old.get(nic)):
            if each is not None and nic not in ruled:
                driver.detach_interface(instance_id, name, each)
    for nic in touched:
        if nic in old and nic not in ruled:
            driver.attach_interface(instance_id, name, old[nic])


def _in_force(record: Record) -> Record:
    """The record as if what runs were what is stored."""
    claims = record.claims if record.live_claims is None else record.live_claims
    return msgspec.structs.replace(record, config=record.in_force, live=None, claims=claims, live_claims=None)


def _steps(engine: "Engine", before: Record, after: Record) -> Iterator[tuple[_Step, _Step]]:
    """What is to be done, each with what takes it back: first everything goes that has to."""
    old = _interfaces(engine, before)
    new = {each.name: each for each in interfaces.interfaces(engine, after, before=before.config)}
    driver, instance_id, name = engine.driver, before.id, before.name

    def attach(interface: Interface) -> _Step:
        return lambda: driver.attach_interface(instance_id, name, interface)

    def detach(interface: Interface) -> _Step:
        return lambda: driver.detach_interface(instance_id, name, interface)

    def rules(one: Interface, other: Interface) -> _Step:
        back, there = _exchanged(one, other)
        return lambda: driver.change_rules(instance_id, name, back, there)

    touched, ruled = _touched(before, after, old, new)
    for nic in touched:
        if nic in old and nic not in ruled:
            yield detach(old[nic]), attach(old[nic])
    for nic in sorted(ruled, key=lambda each: len(_said(after, each)[2]) - len(_said(before, each)[2])):
        if old[nic] != new[nic]:
            yield rules(old[nic], new[nic]), rules(new[nic], old[nic])
    for nic in touched:
        if nic in new and nic not in ruled:
            yield attach(new[nic]), detach(new[nic])


def _interfaces(engine: "Engine", record: Record) -> dict[str, Interface]:
    return {each.name: each for each in interfaces.interfaces(engine, record, is_dry=True, before=record.config)}


def _touched(
    before: Record, after: Record, old: dict[str, Interface], new: dict[str, Interface]
) -> tuple[list[str], list[str]]:
    """The nics of which something else is said, and those among them that can stay where they are."""
    touched = [nic for nic in sorted({*old, *new}) if _said(before, nic) != _said(after, nic)]
    both = [nic for nic in touched if nic in old and nic in new]
    return touched, [nic for nic in both if _without_rules(old[nic]) == _without_rules(new[nic])]


def _exchanged(one: Interface, other: Interface) -> tuple[Interface, Interface]:
    """Both, each with what makes its packet rules of those of the other."""
    return (
        msgspec.structs.replace(one, nft=exchange(other.nft_undo, one.nft)),
        msgspec.structs.replace(other, nft=exchange(one.nft_undo, other.nft)),
    )


def _said(record: Record, nic: str) -> tuple[object, object, dict[str, object]]:
    """Everything that is said of one nic."""
    return record.config.nics.get(nic), record.claims.get(nic), dict(interfaces.ports_of(record.config, nic))


def _without_rules(interface: Interface) -> Interface:
    """What cannot change in an interface that stays."""
    return msgspec.structs.replace(
        interface,
        nft="",
        nft_undo="",
        ingress_bps=0,
        egress_bps=0,
        is_isolated=False,
        is_hairpin=False,
        is_on_loopback=False,
    )
