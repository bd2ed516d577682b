"""The networks of an installation on this host: brought up, followed, taken down, and cleared away.

What the host has is asked of `cloison.network`, and what is done to it is done there.
"""

from typing import TYPE_CHECKING

from cloison.engine import claims, records
from cloison.engine.networks import NetworkRecord
from cloison.engine.records import Record
from cloison.network import ground, host, leases, upkeep
from cloison.network.network import Network
from cloison.network.programs import expect_programs

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.plan.plan import Plan


def is_up(value: Network) -> bool:
    """Whether all of it is there; asks the kernel, and changes nothing."""
    return upkeep.is_up(value)


def expect_possible(value: Network) -> None:
    """Raise Unsupported where a program is missing that the network takes, and it is not up."""
    if not upkeep.is_up(value):
        expect_programs(value)


def up(engine: "Engine", value: Network) -> int:
    """Bring a network up unless it is; gives the index of its bridge. Raises what keeps it from that."""
    return upkeep.index_if_up(value) or _bring_up(engine, value)


def _bring_up(engine: "Engine", value: Network) -> int:
    """Whoever emptied the packet rules of this host has hit others, too: they have theirs back as well. So
    have those who were on a bridge that somebody has deleted."""
    is_whole = ground.has_tables(value.table) and (not upkeep.was_up(value) or host.interface(value.bridge) is not None)
    is_alone = not value.is_own or is_whole
    index = upkeep.ensure(value, engine.driver.carry_out, engine.driver.places)
    if not is_alone:
        engine.restore_networks()
    return index


def plan(engine: "Engine", value: Network) -> "Plan":
    """The plan that would bring a network up now. Raises Unsupported."""
    return upkeep.plan(value, engine.driver.places())


def follow(engine: "Engine", value: Network) -> None:
    """Have the packet rules of a network that is up be its own."""
    upkeep.follow(value, engine.driver.carry_out)


def down(engine: "Engine", value: Network) -> None:
    """Take a network down, however much of it is there."""
    is_last = not engine.is_ruled(without=value.name)  # nobody else needs the tables of packet rules
    upkeep.down(value, engine.driver.carry_out, is_last=is_last)


def take_down_unknown(engine: "Engine", known: tuple[NetworkRecord, ...]) -> tuple[str, ...]:
    """Take down what is left on this host of networks that no record knows any more; gives their names."""
    done = []
    for left in upkeep.leftovers(engine.layout.network_run(""), {record.name for record in known}):
        if engine.store.get(f"networks/{left.name}") is None:  # it may have been made just now
            down(engine, left)
            done.append(left.name)
    return tuple(done)


def give_back(value: Network, record: Record) -> None:
    """Free what a network has leased to an instance that does not run and will not come back."""
    gone = set(claims.addresses(record))
    leases.give_back(value, lambda lease: lease.address in gone)


def give_back_unused(engine: "Engine", networks: tuple[Network, ...]) -> None:
    """Free what is leased to instances that do not run, or are not there any more."""
    known = [record for record in records.load_all(engine.store) if record.config.nics or record.live]
    running = [record for record in known if engine.driver.observe(record.id).pid]
    taken = {address for record in running for address in claims.addresses(record)}
    for network in networks:
        leases.give_back(network, lambda lease: lease.address not in taken)
