"""Packet rules that name instances and networks, when those get other addresses, come or go.

Rules are stored with names and put in place with addresses. Whoever changes what a name stands for says so here, once
that is in the store and the lock of the instance that was changed is given back: then the rules in place follow, those
of networks that are up and those of nics that run, one instance after the other, each under its own lock. An instance
that is just starting is waited for. The lock of a second instance is never asked for while one is held, so nobody
waits in a circle.
"""

import functools
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import CloisonError, Conflict, NotFound
from cloison.engine import records
from cloison.engine.records import Record
from cloison.spec.network import Interface
from cloison.spec.nics import WHOLE, Nic

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.network.network import Network

_PATIENCE_S = 30.0  # a start with a slow network takes seconds


def follow(engine: "Engine", names: Collection[str]) -> None:
    """Have every rule in place that names one of these follow them. Raises Conflict where one cannot."""
    names = set(names)
    networks, over = engine.networks, set[str]()
    problems: list[tuple[str, CloisonError]] = []
    for record in networks.all():
        if any(names.intersection(rule.names) for rule in record.options.rules):
            _tried(f"the network {record.name!r}", functools.partial(networks.follow, record.name), problems)
            over |= {record.name} if record.options.parent else set()

    def is_meant(nic: Nic) -> bool:
        return nic.on in over or any(names.intersection(rule.names) for rule in nic.rules)

    for other in _mentioning(engine, names | over):
        if any(is_meant(nic) for nic in other.in_force.nics.values()):
            _tried(repr(other.name), functools.partial(_renew, engine, other, is_meant), problems)
    if problems:
        who, problem = problems[0]
        raise Conflict(
            f"that is done, but the packet rules of {who} that name {' and '.join(sorted(names))} are those of before:"
            f" {problem}",
            hint="set these rules again, or restart whose they are",
        ) from problem


def network_changed(engine: "Engine", before: "Network", after: "Network") -> None:
    """Have the nics that run on a network follow what they do of it on their own ends: its rules where it has no bridge
    of its own, and whether they see each other."""
    is_ruled = not after.is_own and before.rules != after.rules
    if not is_ruled and before.is_isolated == after.is_isolated:
        return

    def is_meant(nic: Nic) -> bool:
        return nic.on == after.name

    for record in records.load_all(engine.store):
        if any(is_meant(nic) for nic in record.in_force.nics.values()):
            _renew(engine, record, is_meant, was_isolated=before.is_isolated)


def _tried(who: str, doing: Callable[[], None], problems: list[tuple[str, CloisonError]]) -> None:
    try:
        doing()
    except NotFound:
        return  # it has been deleted meanwhile
    except CloisonError as problem:
        problems.append((who, problem))


def _mentioning(engine: "Engine", names: Collection[str]) -> Iterator[Record]:
    """The instances in whose records one of the names is. Most are never decoded: this is asked at every creation."""
    words = [f'"{name}"'.encode() for name in names]
    for entry in engine.store.list("instances/"):
        if any(word in entry.value for word in words):
            yield records.load(engine.store, entry.key.removeprefix("instances/"))


def _renew(
    engine: "Engine", record: Record, is_meant: Callable[[Nic], bool], *, was_isolated: bool | None = None
) -> None:
    """Put the rules of the nics of a running instance in place again. Rare: what it takes is imported here."""
    from cloison.engine import interfaces
    from cloison.engine.nic_inspection import in_force

    with engine.driver.command(record.id, "change the rules of", timeout_s=_PATIENCE_S):
        record = records.load(engine.store, record.id)
        if not engine.driver.observe(record.id).pid:
            return
        config, claims = in_force(record)
        present = msgspec.structs.replace(record, config=config, live=None, claims=claims, live_claims=None)
        # How the rules were resolved when they were put in place, nobody knows: as much is taken back as could be.
        ruled = interfaces.interfaces(engine, present, is_dry=True, before=config, is_ruled=True)
        for before, after in zip(ruled, interfaces.interfaces(engine, present, before=config), strict=True):
            nic = config.nics[after.name]
            if nic.kind not in WHOLE and after.host_name and is_meant(nic):
                engine.driver.change_rules(record.id, record.name, _of(before, was_isolated), _after(before, after))


def _of(before: Interface, was_isolated: bool | None) -> Interface:  # noqa: FBT001
    is_isolated = before.is_isolated if was_isolated is None else was_isolated and before.type == "bridged"
    return msgspec.structs.replace(before, nft="", is_isolated=is_isolated)


def _after(before: Interface, after: Interface) -> Interface:
    from cloison.network.nft import exchange

    return msgspec.structs.replace(after, nft=exchange(before.nft_undo, after.nft))
