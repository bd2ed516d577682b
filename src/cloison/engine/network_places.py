"""Where a network has its place on this host: which subnets are free, and which interface nics are attached to."""

import binascii
import os
import time
from collections.abc import Iterable

from cloison.base import inet
from cloison.base.errors import Exists, Invalid
from cloison.engine.networks import NetworkRecord
from cloison.network import host, subnets
from cloison.spec.networks import AUTO, NONE, Options
from cloison.spec.nic_keys import MAX_NAME


def planned(root: str, others: tuple[NetworkRecord, ...], name: str, options: Options, turn: int = 0) -> NetworkRecord:
    """A new network beside `others` in the installation below `root`; each `turn` another subnet. Raises Invalid,
    Exists for a subnet that somebody has."""
    facts = host.look()
    if options.parent:
        if facts.interface(options.parent) is None:
            raise _no_interface("parent", options.parent)
        return NetworkRecord(name, _bridge_over(facts, options), time.time_ns(), options=options)
    taken = (
        *facts.taken(),
        *((each, f"the network {other.name!r}") for other in others for each in other.subnets),
    )
    seed = binascii.crc32(f"{root}/{name}/{turn}".encode())
    found = {}
    for family, text in (("ipv4", options.ipv4), ("ipv6", options.ipv6)):
        if text not in (AUTO, NONE):
            _expect_apart(family, text, taken)
        found[family] = "" if text == NONE else text
    cidrs = [cidr for cidr, _who in taken]
    if options.ipv4 == AUTO:
        found["ipv4"] = subnets.free_ipv4(cidrs, seed)
    if options.ipv6 == AUTO:
        found["ipv6"] = subnets.free_ipv6(cidrs, int.from_bytes(os.urandom(5), "big")) if host.has_ipv6() else ""
    return NetworkRecord(
        name, _bridge(root, others, name, facts), time.time_ns(), found["ipv4"], found["ipv6"], options
    )


def _bridge(root: str, others: tuple[NetworkRecord, ...], name: str, facts: host.Host) -> str:
    """The network's own name where that is free and this is the host's own installation; else one made of it."""
    taken = {record.bridge for record in others} | {each.name for each in facts.interfaces}
    if not root and len(name) <= MAX_NAME and name not in taken:
        return name
    return f"clo-{binascii.crc32(f'{root} {name}'.encode()):08x}"


def planned_anew(
    root: str, others: tuple[NetworkRecord, ...], before: NetworkRecord, options: Options
) -> NetworkRecord:
    """`before` with other options, and with the subnets that it has already where they are still to be chosen. Raises
    as `planned` does."""
    kept = {
        family: getattr(before, family)
        for family in ("ipv4", "ipv6")
        if getattr(options, family) == AUTO and getattr(before, family) and not options.parent
    }
    facts = host.look()
    if options.parent:
        return planned(root, others, before.name, options)
    taken = [(cidr, who) for cidr, who in facts.taken() if not any(inet.is_within(cidr, own) for own in before.subnets)]
    for family in ("ipv4", "ipv6"):
        text = getattr(options, family)
        if text not in (AUTO, NONE):
            _expect_apart(family, text, taken)
            kept[family] = text
    missing = [f for f in ("ipv4", "ipv6") if f not in kept and getattr(options, f) == AUTO]
    free = planned(root, others, before.name, Options()) if missing else None
    chosen = {family: getattr(free, family) for family in missing}
    bridge = before.bridge if not before.options.parent else _bridge(root, others, before.name, facts)
    return NetworkRecord(
        before.name, bridge, before.created_ns, **{"ipv4": "", "ipv6": "", **kept, **chosen}, options=options
    )


def is_shared(record: NetworkRecord) -> bool:
    """Whether nics on it are macvlans: it is over an interface of the host that is no bridge."""
    link = host.interface(record.options.parent) if record.options.parent else None
    return link is not None and link.kind != "bridge"


def _bridge_over(facts: host.Host, options: Options) -> str:
    """What nics are attached to: the parent, or an interface for one VLAN of a parent that is no bridge."""
    parent = facts.interface(options.parent)
    if parent is None or options.vlan is None or parent.kind == "bridge":
        return options.parent
    name = f"{options.parent}.{options.vlan}"
    return name if len(name) <= MAX_NAME else f"clo-{binascii.crc32(name.encode()):08x}"


def _expect_apart(family: str, cidr: str, taken: Iterable[tuple[str, str]]) -> None:
    who = subnets.collision(inet.subnet(cidr), taken)
    if who:
        raise Exists(
            f"{family}={cidr}: {inet.subnet(cidr)} overlaps {who}",
            hint="choose another subnet, or leave it out to have a free one chosen",
            key=family,
        )


def _no_interface(key: str, name: str) -> Invalid:
    return Invalid(f"{key}={name}: this host has no interface {name!r}", hint="`ip link` lists them", key=key)
