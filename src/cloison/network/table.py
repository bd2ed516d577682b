"""The packet rules that all networks of an installation share, and those of one network. Pure.

One table, `inet cloison`; below a CLOISON_ROOT `inet cloison_<8 digits>`. What a chain of the kernel's does is the same
for every network and interface; it looks up in maps where to go on. So a network or an interface comes and goes as one
transaction that adds or deletes its own chains and elements, and nobody has to know the others:

    chain raw          loopback addresses do not come from a bridge, nor from what is on 127.0.0.1 without one
    chain prerouting   to an address of this host: chain ports
    chain local_out    the same for what this host itself sends
    chain ports        maps ports, ports4, ports6: protocol and port, the latter two with an address -> dnat_<interface>
    chain postrouting  map nat4, nat6: source subnet -> nat_<network>; map hairpin: interface -> hairpin_<network>
    chain forward      map forward_from: interface -> from_<network>
    chain forward_in   map forward_to: interface -> to_<network>; of its own, since what one network lets out, or says
                       nothing about, another one may not let in
    chain input        map input_from: interface -> host_from_<network>
    chain output       map output_to: interface -> host_to_<network>
    set members_<network>  its bridge, and the host's ends of its routed nics, which go there by chains of their own
    set bridges        the bridges of all networks, and the host's ends of what is routed on one: between these nothing
                       goes under the host's address, or no rule would know whose it is
    set on_loopback    the host's ends of what has ports on 127.0.0.1 without a bridge
    set opened4, opened6   interfaces on which cloison has switched forwarding on: see `cloison.network.forwarding`

The alternative, one document of everything at every change, needs a lock around all starts and is as long as there are
instances. Rules of single interfaces that no router sees are in `netdev cloison`: see `cloison.network.nic`.
"""

from cloison.base import inet
from cloison.network import nft
from cloison.network.network import Network, Rule
from cloison.network.nft import ACCEPT, COUNTER, DROP, MASQUERADE, Document, Expression, ct, field, match, meta

INET, NETDEV = "inet", "netdev"
_INTERFACES = ("forward_from", "forward_to", "input_from", "output_to", "hairpin")
_PORT = ["inet_proto", "inet_service"]
_SUBNETS = {"nat4": "ipv4_addr", "nat6": "ipv6_addr"}
_PORTS = {"ports": _PORT, "ports4": ["ipv4_addr", *_PORT], "ports6": ["ipv6_addr", *_PORT]}
_RAW, _DSTNAT, _FILTER, _SRCNAT = -300, -100, 0, 100  # the usual priorities, linux/netfilter_ipv4.h
_BEHIND = 1
_TO_THIS_HOST = match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
_ESTABLISHED = match(ct("state"), {"set": ["established", "related"]})
_IS_NATED = match(ct("status"), "dnat", "in")
_NOT_NATED = match(ct("status"), "dnat", "!")
_NEIGHBOURS = [
    "nd-router-solicit",
    "nd-router-advert",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "mld2-listener-report",
]


def installation(table: str) -> Document:
    """What all networks and interfaces share. Carried out again it changes nothing."""
    document = Document(table)
    for family in (INET, NETDEV):
        document.table(family)
    for name in ("bridges", "on_loopback", "opened4", "opened6"):
        document.set(INET, name, "ifname")
    for name in _INTERFACES:
        document.verdicts(INET, name, "ifname")
    for name, type_ in _SUBNETS.items():
        document.verdicts(INET, name, type_, flags=["interval"])
    for name, key in _PORTS.items():
        document.verdicts(INET, name, key, flags=["interval"])
    _ports(document)
    _nat(document)
    _filter(document)
    return document


def remove_installation(table: str) -> Document:
    """None of its tables any more."""
    document = Document(table)
    for family in (INET, NETDEV):
        document.delete_table(family)
    return document


def _ports(document: Document) -> None:
    document.base_chain(INET, "raw", "prerouting", _RAW)
    for set_ in ("@bridges", "@on_loopback"):
        for side in ("daddr", "saddr"):
            to_or_from = match(field("ip", side), nft.prefix("127.0.0.0/8"))
            document.rule(INET, "raw", match(meta("iifname"), set_), to_or_from, COUNTER, DROP)
    document.chain(INET, "ports")
    # Of IPv6 nothing leaves the host that comes from its loopback: better refused at once than waited for.
    document.rule(INET, "ports", match(field("ip6", "daddr"), "::1"), {"return": None})
    key = (meta("l4proto"), field("th", "dport"))
    document.rule(INET, "ports", nft.look_up(nft.concat(field("ip", "daddr"), *key), "ports4"))
    document.rule(INET, "ports", nft.look_up(nft.concat(field("ip6", "daddr"), *key), "ports6"))
    document.rule(INET, "ports", nft.look_up(nft.concat(*key), "ports"))
    for chain, hook in (("prerouting", "prerouting"), ("local_out", "output")):
        document.base_chain(INET, chain, hook, _DSTNAT, kind="nat")
        document.rule(INET, chain, _TO_THIS_HOST, nft.jump("ports"))


def _nat(document: Document) -> None:
    document.base_chain(INET, "postrouting", "postrouting", _SRCNAT, kind="nat")
    loopback = match(field("ip", "saddr"), nft.prefix("127.0.0.0/8"))
    document.rule(INET, "postrouting", loopback, match(meta("oifname"), "lo", "!="), _IS_NATED, MASQUERADE)
    document.rule(INET, "postrouting", _IS_NATED, nft.look_up(meta("oifname"), "hairpin"))
    document.rule(INET, "postrouting", nft.look_up(field("ip", "saddr"), "nat4"))
    document.rule(INET, "postrouting", nft.look_up(field("ip6", "saddr"), "nat6"))


def _filter(document: Document) -> None:
    document.base_chain(INET, "forward", "forward", _FILTER)
    document.rule(INET, "forward", _ESTABLISHED, ACCEPT)
    for family, set_ in (("ipv4", "@opened4"), ("ipv6", "@opened6")):
        opened = (match(meta("nfproto"), family), match(meta("iifname"), set_), match(meta("oifname"), set_))
        document.rule(INET, "forward", *opened, COUNTER, DROP, comment="closed before cloison opened either")
    document.rule(INET, "forward", nft.look_up(meta("iifname"), "forward_from"))
    document.base_chain(INET, "forward_in", "forward", _FILTER + _BEHIND)
    document.rule(INET, "forward_in", _ESTABLISHED, ACCEPT)
    document.rule(INET, "forward_in", nft.look_up(meta("oifname"), "forward_to"))
    for chain, hook, key, map_ in (
        ("input", "input", "iifname", "input_from"),
        ("output", "output", "oifname", "output_to"),
    ):
        document.base_chain(INET, chain, hook, _FILTER)
        document.rule(INET, chain, _ESTABLISHED, ACCEPT)
        document.rule(INET, chain, nft.look_up(meta(key), map_))


# --- one network -----------------------------------------------------------------------------------------------------


def network(of: Network) -> Document:
    """The rules of one network of cloison's own; carried out again with others, those take the place of these."""
    document = Document(of.table)
    document.set(INET, members(of.name), "ifname")
    document.elements(INET, members(of.name), [of.bridge])
    _pass_on(document, of)
    _nat_of(document, of)
    _host(document, of)
    document.elements(INET, "bridges", [of.bridge])
    for map_, chain in _chains(of).items():
        document.elements(INET, map_, [[of.bridge, nft.goto(chain)]])
    for map_, subnet_ in _subnets(of):
        document.elements(INET, map_, [[nft.prefix(subnet_), nft.goto(f"nat_{of.name}")]])
    return document


def remove_network(of: Network) -> Document:
    """Nothing of it, however much is there."""
    document = Document(of.table)
    for chain in chains(of):
        document.chain(INET, chain)
    document.delete_elements(INET, "bridges", [of.bridge])
    for map_, chain in _chains(of).items():
        document.delete_elements(INET, map_, [[of.bridge, nft.goto(chain)]])
    for map_, subnet_ in _subnets(of):
        document.delete_elements(INET, map_, [[nft.prefix(subnet_), nft.goto(f"nat_{of.name}")]])
    for chain in chains(of):
        document.delete_chain(INET, chain)
    document.delete_set(INET, members(of.name), "ifname")
    return document


def open_(document: Document, ipv4: tuple[str, ...], ipv6: tuple[str, ...]) -> None:
    """These interfaces forward only for cloison's sake, so not from one of them to another."""
    document.elements(INET, "opened4", ipv4)
    document.elements(INET, "opened6", ipv6)


def close(document: Document, ipv4: tuple[str, ...], ipv6: tuple[str, ...]) -> None:
    """Take `open_` back."""
    document.delete_elements(INET, "opened4", ipv4)
    document.delete_elements(INET, "opened6", ipv6)


def chains(of: Network) -> tuple[str, ...]:
    """The names of the chains that are one network's own."""
    return (*_chains(of).values(), f"nat_{of.name}")


def members(network: str) -> str:
    """The set of the interfaces of the host behind which a network is."""
    return f"members_{network}"


def ways(network: str) -> dict[str, str]:
    """The chain of a network for each map of interfaces that says what becomes of its packets."""
    return {
        "forward_from": f"from_{network}",
        "forward_to": f"to_{network}",
        "input_from": f"host_from_{network}",
        "output_to": f"host_to_{network}",
    }


def _chains(of: Network) -> dict[str, str]:
    return {**ways(of.name), "hairpin": f"hairpin_{of.name}"}


def _subnets(of: Network) -> list[tuple[str, str]]:
    return [(map_, inet.subnet(own)) for map_, own in (("nat4", of.ipv4), ("nat6", of.ipv6)) if own]


def _pass_on(document: Document, of: Network) -> None:
    """What goes through the host. With br_netfilter what stays on the bridge comes by here too, and is let through."""
    own = f"@{members(of.name)}"
    for chain, here, there, direction in (
        (f"from_{of.name}", "iifname", "oifname", "out"),
        (f"to_{of.name}", "oifname", "iifname", "in"),
    ):
        document.chain(INET, chain)
        beyond = match(meta(there), own, "!=")
        if of.is_internal:
            document.rule(INET, chain, beyond, COUNTER, DROP, comment="the network is internal")
        if of.is_isolated and here == "iifname":
            within = match(meta(there), own)
            document.rule(INET, chain, within, _NOT_NATED, COUNTER, DROP, comment="the network is isolated")
        for rule in of.rules:
            add_rule(document, INET, chain, rule, direction, beyond)


def _nat_of(document: Document, of: Network) -> None:
    document.chain(INET, f"nat_{of.name}")
    if of.is_nat:
        for cidr, keyword in _by_family(of):
            inside = match(field(keyword, "daddr"), nft.prefix(inet.subnet(cidr)), "!=")
            beyond = match(meta("oifname"), "@bridges", "!=")
            document.rule(INET, f"nat_{of.name}", beyond, inside, COUNTER, MASQUERADE)
    document.chain(INET, f"hairpin_{of.name}")
    for cidr, keyword in _by_family(of):
        sibling = match(field(keyword, "saddr"), nft.prefix(inet.subnet(cidr)))
        document.rule(INET, f"hairpin_{of.name}", sibling, MASQUERADE)


def _host(document: Document, of: Network) -> None:
    """Between the host and its instances: names and leases always, the rest as the rules say."""
    served = f"host_from_{of.name}"
    document.chain(INET, served)
    document.rule(
        INET, served, match(meta("l4proto"), {"set": ["tcp", "udp"]}), match(field("th", "dport"), 53), ACCEPT
    )
    document.rule(INET, served, match(field("udp", "dport"), {"set": [67, 547]}), ACCEPT)
    document.rule(INET, served, match(field("icmpv6", "type"), {"set": _NEIGHBOURS}), ACCEPT)
    document.chain(INET, f"host_to_{of.name}")
    document.rule(INET, f"host_to_{of.name}", match(field("udp", "sport"), {"set": [53, 67, 547]}), ACCEPT)
    document.rule(INET, f"host_to_{of.name}", match(field("icmpv6", "type"), {"set": _NEIGHBOURS}), ACCEPT)
    for rule in of.rules:
        add_rule(document, INET, served, rule, "out")
        add_rule(document, INET, f"host_to_{of.name}", rule, "in")


def _by_family(of: Network) -> list[tuple[str, str]]:
    return [(own, keyword) for own, keyword in ((of.ipv4, "ip"), (of.ipv6, "ip6")) if own]


# --- one rule --------------------------------------------------------------------------------------------------------


def add_rule(document: Document, family: str, chain: str, rule: Rule, direction: str, *conditions: Expression) -> None:
    """One rule of access as rules of packets, if it is of this direction: one for each family that it names."""
    if rule.direction != direction:
        return
    verdict = ACCEPT if rule.action == "allow" else DROP
    for parts in conditions_of(rule):
        document.rule(family, chain, *conditions, *parts, COUNTER, verdict, comment=rule.text)


def conditions_of(rule: Rule) -> list[list[Expression]]:
    """What a packet has to be for a rule to decide on it: one list for each family of addresses, or one for both."""
    if not rule.sources and not rule.destinations:
        return [*_protocol(rule, "")]
    found: list[list[Expression]] = []
    for keyword, is_v6 in (("ip", False), ("ip6", True)):
        sources = [each for each in rule.sources if (":" in each) == is_v6]
        destinations = [each for each in rule.destinations if (":" in each) == is_v6]
        if (rule.sources and not sources) or (rule.destinations and not destinations):
            continue
        parts = [match(field(keyword, "saddr"), nft.any_of([*map(nft.prefix, sources)]))] if sources else []
        if destinations:
            parts.append(match(field(keyword, "daddr"), nft.any_of([*map(nft.prefix, destinations)])))
        found += [[*parts, *protocol] for protocol in _protocol(rule, keyword)]
    return found


def _protocol(rule: Rule, keyword: str) -> list[list[Expression]]:
    match rule.protocol:
        case "any" if rule.ports:
            protocol = nft.match(meta("l4proto"), {"set": ["tcp", "udp"]})
        case "any":
            return [[]]
        case "icmp":
            names = [name for name, family in (("icmp", "ip"), ("icmpv6", "ip6")) if keyword in ("", family)]
            return [[nft.match(meta("l4proto"), nft.any_of(names))]]
        case _:
            protocol = nft.match(meta("l4proto"), rule.protocol)
    ports = [nft.span(first, last) for first, last in rule.ports]
    return [[protocol, *([nft.match(field("th", "dport"), nft.any_of(ports))] if ports else [])]]
