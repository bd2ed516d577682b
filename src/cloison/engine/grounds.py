"""What nics have of the host besides a network of cloison's own, put there when it is needed and taken away when not.

Nothing here has a record of its own: the instances' records say what is needed, those that are stopped included, so
that a start never meets somebody who is just taking away what it has asked for.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Busy, NotFound
from cloison.engine import interfaces, records
from cloison.engine.networks import NetworkRecord
from cloison.engine.records import Claim, Record
from cloison.engine.wiring import Networks
from cloison.network import ground, strays, upkeep
from cloison.network.ground import Ground
from cloison.network.network import table_of
from cloison.spec.config import Config
from cloison.spec.nics import BRIDGED, P2P, ROUTED, Nic, are_wired

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

_PATIENCE_S = 10.0


def grounds(engine: "Engine", record: Record) -> Iterator[Ground]:
    """Where an instance is or will be routed without a network of cloison's own."""
    for config, claims in _configs(record):
        for name, nic in config.nics.items():
            if nic.kind == ROUTED and name in claims:
                network = _network(engine, nic)
                if not _is_on_own(network):
                    parent = network.bridge if network else nic.parent
                    for is_v6 in sorted({":" in each for each in claims[name].addresses}):
                        yield Ground(table_of(engine.layout.root), parent, is_v6)


def settle(engine: "Engine", before: Record, after: Record | None = None) -> None:
    """Give back what nobody needs any more now that an instance has changed, or is gone."""
    lost = set(grounds(engine, before)) - (set(grounds(engine, after)) if after else set())
    is_ruled = _has_rules(engine, before) and (after is None or not _has_rules(engine, after))
    if lost:
        release(engine)
    if lost or is_ruled:
        remove_rules(engine)


def release(engine: "Engine") -> tuple[str, ...]:
    """Give back all forwarding that no instance and no network needs; gives for whom it was."""
    name = table_of(engine.layout.root)
    known = {each.holder for record in records.load_all(engine.store) for each in grounds(engine, record)}
    known |= {f"{name}.{each.name}" for each in Networks(engine).all()}
    return ground.release(name, engine.driver.carry_out, known=known)


def remove_rules(engine: "Engine") -> bool:
    """Take the installation's tables away if nothing is in them. Whether there were any."""
    return not is_ruled(engine) and ground.remove_rules(table_of(engine.layout.root), engine.driver.carry_out)


def is_ruled(engine: "Engine", *, without: str = "") -> bool:
    """Whether anybody needs the tables of packet rules but the network `without`."""
    networks = Networks(engine)
    for record in networks.all():
        if record.name != without and not record.options.parent and upkeep.was_up(networks.value(record)):
            return True
    return any(_has_rules(engine, record) for record in records.load_all(engine.store))


def restore(engine: "Engine") -> tuple[str, ...]:
    """Have everything of this host's that somebody has taken away while it was in use: networks that were up, tables,
    forwarding, and the packet rules of instances that run. Gives the names of networks and instances."""
    networks, found = Networks(engine), []
    for network in networks.all():
        value = networks.value(network)
        if upkeep.was_up(value) and not upkeep.is_up(value):
            upkeep.ensure(value, engine.driver.carry_out, engine.driver.places)
            found.append(network.name)
    for record in records.load_all(engine.store):
        if are_wired(record.in_force.nics) and engine.driver.observe(record.id).pid and _restore(engine, record):
            found.append(record.name)
    return tuple(found)


def sweep(engine: "Engine") -> tuple[str, ...]:
    """Take away what is on this host of networks and instances that no record knows; gives what it was."""
    store, layout = engine.store, engine.layout
    known = strays.Known(
        has_network=lambda name: store.get(f"networks/{name}") is not None,
        has_instance=lambda begin: any(each.id.startswith(begin) for each in records.load_all(store)),
    )
    run, data = layout.network_run("").rstrip("/"), layout.network_data("").rstrip("/")
    found = strays.clear(table_of(layout.root), run, data, known, engine.driver.carry_out)
    holders = tuple(f"forwarding for {each}" for each in release(engine))
    return (*found, *holders, *(("tables of packet rules",) if remove_rules(engine) else ()))


def _restore(engine: "Engine", record: Record) -> bool:
    with contextlib.suppress(Busy), engine.driver.command(record.id, "have its rules back", timeout_s=_PATIENCE_S):
        record = records.load(engine.store, record.name)
        running = msgspec.structs.replace(record, config=record.in_force, live=None)
        if record.live_claims is not None:
            running = msgspec.structs.replace(running, claims=record.live_claims, live_claims=None)
        for each in grounds(engine, running):
            ground.ensure(each, engine.driver.carry_out)
        name = table_of(engine.layout.root)
        made = interfaces.interfaces(engine, running, is_dry=True, before=running.config)
        documents = [each.nft for each in made if each.nft and not ground.has_chains(name, each.nft)]
        if engine.driver.observe(record.id).pid:
            is_plugged = ground.plug(made, engine.driver.carry_out)
            if documents:
                ground.ensure_rules(name, engine.driver.carry_out)
                ground.carry_out(documents, f"the packet rules of {record.name}", engine.driver.carry_out)
            return is_plugged or bool(documents)
    return False


def _configs(record: Record) -> Iterator[tuple[Config, dict[str, Claim]]]:
    yield record.config, record.claims
    if record.live is not None:
        yield record.live, record.claims if record.live_claims is None else record.live_claims


def _network(engine: "Engine", nic: Nic) -> NetworkRecord | None:
    with contextlib.suppress(NotFound):
        return Networks(engine).get(nic.on) if nic.on else None
    return None


def _is_on_own(network: NetworkRecord | None) -> bool:
    return network is not None and not network.options.parent


def _has_rules(engine: "Engine", record: Record) -> bool:
    """Whether an instance has packet rules, or forwarding that depends on some, beside networks of cloison's own."""
    for config, _claims in _configs(record):
        for name, nic in config.nics.items():
            network = _network(engine, nic)
            if nic.kind not in (BRIDGED, ROUTED, P2P) or _is_on_own(network):
                continue
            is_filtered = nic.mac_filter or nic.ip_filter or bool(nic.rules) or bool(nic.egress_bps)
            is_ruled = network is not None and bool(network.options.rules)
            if nic.kind == ROUTED or is_filtered or is_ruled or any(interfaces.ports_of(config, name)):
                return True
    return False
