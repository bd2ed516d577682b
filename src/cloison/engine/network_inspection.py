"""Everything there is to know about networks, put together for `network ls` and `network info`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cloison.engine import records
from cloison.engine.inspection import timestamp
from cloison.engine.networks import NetworkRecord
from cloison.engine.nic_inspection import in_force
from cloison.engine.records import Record
from cloison.engine.results import FirewallInfo, LeaseInfo, NetworkInfo, NetworkMember, RuleInfo
from cloison.network import report, upkeep
from cloison.network.network import Network
from cloison.spec import networks as options_of
from cloison.spec.config import Config
from cloison.spec.driver import Observed

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.wiring import Networks

_SECOND_NS = 1_000_000_000


# --- networks --------------------------------------------------------------------------------------------------------


def briefs(engine: "Engine", networks: "Networks") -> tuple[NetworkInfo, ...]:
    """All networks, without leases, rules and counts."""
    known = records.load_all(engine.store)
    observed = {record.id: engine.driver.observe(record.id) for record in known}
    return tuple(_brief(each, networks.value(each), known, observed) for each in networks.all())


def info(engine: "Engine", networks: "Networks", record: NetworkRecord) -> NetworkInfo:
    """One network with everything."""
    known = tuple(each for each in records.load_all(engine.store) if _is_on(each, record.name))
    value = networks.value(record)
    brief = _brief(record, value, known, {each.id: engine.driver.observe(each.id) for each in known})
    return _reported(brief, report.report(value)) if brief.is_up else brief


def _brief(
    record: NetworkRecord, value: Network, known: Iterable[Record], observed: dict[str, Observed]
) -> NetworkInfo:
    members = []
    for each in known:
        is_running = bool(observed[each.id].pid)
        config, claims = in_force(each) if is_running else (each.config, each.claims)
        members += [
            NetworkMember(each.name, nic, claims[nic].mac, claims[nic].addresses, is_running)
            for nic in _members_of(config, record.name)
            if nic in claims
        ]
    return NetworkInfo(
        name=record.name,
        bridge=record.bridge,
        ipv4=record.ipv4,
        ipv6=record.ipv6,
        is_up=upkeep.is_up(value),
        options=dict(options_of.items(record.options)),
        created=timestamp(record.created_ns) or "",
        members=tuple(members),
    )


def _reported(brief: NetworkInfo, seen: report.Report) -> NetworkInfo:
    return msgspec.structs.replace(
        brief,
        is_serving=seen.is_serving,
        leases=tuple(
            LeaseInfo(each.address, each.mac, each.name, timestamp(each.expires_s * _SECOND_NS)) for each in seen.leases
        ),
        rules=tuple(RuleInfo(each.chain, each.text, each.packets, each.bytes) for each in seen.rules),
        in_the_way=tuple(FirewallInfo(each.where, each.hook, each.remedy) for each in seen.foreign),
        received_bytes=seen.received_bytes,
        sent_bytes=seen.sent_bytes,
    )


def _members_of(config: Config, network: str) -> list[str]:
    return sorted(name for name, nic in config.nics.items() if nic.on == network)


def _is_on(record: Record, network: str) -> bool:
    return bool(_members_of(record.config, network) or _members_of(record.in_force, network))
