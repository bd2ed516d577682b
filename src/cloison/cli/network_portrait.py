"""One network, as `cloison network info` shows it to people. Pure."""

from typing import TYPE_CHECKING

from cloison.base.units import format_size
from cloison.cli.table import aligned, listed

if TYPE_CHECKING:
    from cloison.engine.results import LeaseInfo, NetworkInfo, NetworkMember, RuleInfo


def portrait(info: "NetworkInfo") -> str:
    """Sections; one without anything in it is left out."""
    sections = [f"{info.name}\n{listed(_identity(info))}"]
    options = [(name, value) for name, value in info.options.items()]
    sections += [f"Options\n{listed(options)}"] if options else []
    tables = (
        ("Attached", ("INSTANCE", "NIC", "MAC", "ADDRESSES", "STATE"), [_member(each) for each in info.members]),
        ("Leases", ("ADDRESS", "MAC", "NAME", "EXPIRES"), [_lease(each) for each in info.leases]),
        ("Rules", ("CHAIN", "PACKETS", "SIZE", "RULE"), [_rule(each) for each in info.rules]),
    )
    for title, header, rows in tables:
        if rows:
            sections.append(f"{title}\n" + "".join(f"  {line}\n" for line in aligned(header, rows).splitlines()))
    sections += [f"In its way\n{listed(_obstacles(info))}"] if info.in_the_way else []
    return "\n".join(sections)


def kind(info: "NetworkInfo") -> str:
    """What sort of network it is, in a word or two."""
    if "parent" in info.options:
        vlan = f", VLAN {info.options['vlan']}" if "vlan" in info.options else ""
        return f"on {info.options['parent']}{vlan}"
    words = ["isolated"] if "isolated" in info.options else []
    if "internal" in info.options:
        return ", ".join(["internal", *words])
    return ", ".join(["routed" if "nat" in info.options else "NAT", *words])


def _identity(info: "NetworkInfo") -> list[tuple[str, str]]:
    pairs = [
        ("state", "up" if info.is_up else "down: it comes up with the first instance on it"),
        ("kind", kind(info)),
        ("interface", info.bridge),
        ("IPv4", info.ipv4 or "none"),
        ("IPv6", info.ipv6 or "none"),
        ("created", info.created),
    ]
    if info.is_up and "parent" not in info.options:
        pairs.append(("names, leases", "served by dnsmasq" if info.is_serving else "not served"))
    if info.received_bytes is not None and info.sent_bytes is not None:
        pairs.append(("received, sent", f"{format_size(info.received_bytes)}, {format_size(info.sent_bytes)}"))
    return pairs


def _obstacles(info: "NetworkInfo") -> list[tuple[str, str]]:
    """Each chain that drops, and below it what would help."""
    return [
        pair
        for each in info.in_the_way
        for pair in ((each.chain, f"drops at {each.hook}; what would help:"), *(("", words) for words in each.remedy))
    ]


def _member(member: "NetworkMember") -> tuple[str, ...]:
    addresses = ", ".join(address.partition("/")[0] for address in member.addresses)
    state = "running" if member.is_running else "stopped"
    return member.instance, member.nic, member.mac or "-", addresses or "-", state


def _lease(lease: "LeaseInfo") -> tuple[str, ...]:
    return lease.address, lease.mac or "-", lease.name or "-", lease.expires or "never"


def _rule(rule: "RuleInfo") -> tuple[str, ...]:
    packets = "-" if rule.packets is None else str(rule.packets)
    return rule.chain, packets, "-" if rule.bytes is None else format_size(rule.bytes), rule.text
