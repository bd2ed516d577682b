"""What there is to know about the nics of an instance, for `ls`, `info` and `nic ls`."""

from typing import TYPE_CHECKING

from cloison.engine.records import Claim, Record
from cloison.engine.results import NicInfo
from cloison.spec.config import Config
from cloison.spec.network import InterfaceState
from cloison.spec.nics import DHCP, Nic

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

INDEX_BASE = 2  # inside, of the nic with the number 0: see cloison.spec.network
_NOT_CLAIMED = Claim(-1)


def nics(engine: "Engine", record: Record, pid: int, *, with_counts: bool = True) -> tuple[NicInfo, ...]:
    """The nics of an instance by name, those in force before those that only are stored. `pid` is that of its init, 0
    where it does not run. Without counts its namespace is entered only where nobody else knows its addresses."""
    if not pid:
        return tuple(_nic(record, name, nic, record.claims) for name, nic in sorted(record.config.nics.items()))
    config, claims = in_force(record)
    is_needed = with_counts or any(_is_told_inside(nic, claims.get(name)) for name, nic in config.nics.items())
    has_own = any(name in claims for name in config.nics)
    seen = {each.index: each for each in engine.driver.interfaces(pid)} if is_needed and has_own else {}
    found = [
        _nic(
            record,
            name,
            nic,
            claims,
            is_stored=record.config.nics.get(name) == nic,
            is_in_force=True,
            state=_state(seen, name, claims[name]) if name in claims else None,
        )
        for name, nic in sorted(config.nics.items())
    ]
    later = [(name, nic) for name, nic in sorted(record.config.nics.items()) if config.nics.get(name) != nic]
    return (*found, *(_nic(record, name, nic, record.claims) for name, nic in later))


def _nic(
    record: Record,
    name: str,
    nic: Nic,
    claims: dict[str, Claim],
    *,
    is_stored: bool = True,
    is_in_force: bool = False,
    state: InterfaceState | None = None,
) -> NicInfo:
    claim = claims.get(name, _NOT_CLAIMED)
    return NicInfo(
        instance=record.name,
        name=name,
        type=nic.kind,
        network=nic.on,
        parent=nic.parent,
        mac=state.mac if state else claim.mac or None,
        mtu=state.mtu if state else nic.mtu,
        addresses=(state.addresses if state else ()) or claim.addresses,
        stored=is_stored,
        in_force=is_in_force,
        ingress_bps=nic.ingress_bps,
        egress_bps=nic.egress_bps,
        received_bytes=state.received_bytes if state else None,
        sent_bytes=state.sent_bytes if state else None,
        received_packets=state.received_packets if state else None,
        sent_packets=state.sent_packets if state else None,
        received_dropped=state.received_dropped if state else None,
        sent_dropped=state.sent_dropped if state else None,
    )


def _state(seen: dict[int, InterfaceState], name: str, claim: Claim) -> InterfaceState | None:
    """What is seen of a nic: under the index of its start; one that came later has another one, and is known by its MAC
    address, or by its name where it has that of its parent."""
    late = (each for each in seen.values() if (each.mac == claim.mac if claim.mac else each.name == name))
    return seen.get(claim.number + INDEX_BASE) or next(late, None)


def _is_told_inside(nic: Nic, claim: Claim | None) -> bool:
    """Whether its addresses come from somebody else."""
    return claim is not None and not claim.addresses and nic.addresses == (DHCP,)


def in_force(record: Record) -> tuple[Config, dict[str, Claim]]:
    """The configuration of what runs, and what its nics have."""
    return record.in_force, record.claims if record.live_claims is None else record.live_claims
