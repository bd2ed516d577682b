"""The packet rules of one interface of an instance: what is done before its start, and what takes it back. Pure.

Forwarded ports are in `inet cloison`, in a chain of the interface's own that the maps of ports go to; one that is on
no bridge of cloison's own and has them on 127.0.0.1 is in the set `on_loopback`, too:

    map ports    tcp . 8080 -> dnat_v1a2b3c4dn0        map ports4    192.0.2.2 . tcp . 8080 -> dnat_v1a2b3c4dn0

A routed nic on a network of cloison's own is no port of its bridge, so its end is told to be one of its members, and
sent through its chains, by four of its own:

    map forward_from  v1a2b3c4dn0 -> leaves_v1a2b3c4dn0 -> from_<network>        forward_to  enters_... -> to_...
    map input_from    v1a2b3c4dn0 -> asks_v1a2b3c4dn0   -> host_from_<network>   output_to   asked_...  -> host_to_...

The rest is in `netdev cloison`, on the host's end of the interface, where everything passes by, whether a router, a
bridge or nobody sees it next, and costs nothing to other interfaces. Names, with the host's end v1a2b3c4dn0:

    chain out_v1a2b3c4dn0   ingress of the host's end: what the instance sends; filters, rules `out`
    chain rate_v1a2b3c4dn0  behind it: what has passed waits its turn in an interface of its own, an ifb called
                            q1a2b3c4dn0, with a tc-tbf(8), which puts it back to where it was
    chain in_v1a2b3c4dn0    egress of the host's end (since Linux 5.16): what it is sent; rules `in`
    set flows4_v1a2b3c4dn0, flows6_...   connections that a rule has allowed, as their answers look; those pass

Connection tracking knows nothing of packets that stay on a bridge (nf_conntrack_bridge is missing in many kernels),
hence the sets. What begins a connection is held against the rules with every packet, so a new rule acts at once. Of
ICMP the answers and errors pass, and the questions are judged; ARP and neighbour discovery always pass, but for the
filters.
A limit of nft's own drops what is above a rate, but not before a whole second's worth has passed at once
(nft_limit_init: the bucket has never less), so after each rest a connection is fast and then starves.
Source: nft(8), "NETDEV ADDRESS FAMILY"; Documentation/networking/nf_flowtable.rst has a map of the hooks.
"""

import msgspec

from cloison.base import inet
from cloison.base.errors import Invalid
from cloison.network import nft, table
from cloison.network.network import Rule, host_of
from cloison.network.nft import ACCEPT, COUNTER, DROP, Document, Expression, field, match, meta
from cloison.network.table import INET, NETDEV
from cloison.spec.network import queue_of

_TCP_S, _TCP_ENDED_S, _UDP_S = 6 * 3600, 60, 180
_FLOWS = {"flags": ["timeout"], "timeout": _TCP_S, "size": 65535}
_ICMP_ANSWERS = ["echo-reply", "destination-unreachable", "time-exceeded", "parameter-problem"]
_ICMPV6_ANSWERS = ["echo-reply", "destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem"]
_NEIGHBOURS = ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"]
_LISTENERS = ["mld-listener-query", "mld-listener-report", "mld-listener-done", "mld2-listener-report"]
_ARP, _IP, _IP6 = "arp", "ip", "ip6"
_DHCP_SERVER, _DHCP6_SERVER = 67, 547
_DHCP = ((_DHCP_SERVER, 68), (_DHCP6_SERVER, 546))  # the ports of a server and of its clients
_BEHIND = 10  # a priority: after the chain of filters and rules, which has 0


class Port(msgspec.Struct, frozen=True):
    """A range of ports of the host that leads to as many of an instance. `address` is one of the host's, or empty."""

    protocol: str
    first: int
    last: int
    inside: int
    address: str = ""


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """What the packet rules of one interface depend on. `host_name` is the host's end, `addresses` those inside;
    `is_on_loopback`: what comes in by the host's end is to have nothing to do with 127.0.0.1 but for its ports.

    `is_ruled`: it is to have rules, though they may be about nobody for the moment. `prefix6` is the /64 in which it
    may give itself an address, empty where there is none. `egress_bps` is in bits per second, 0 for no limit.
    `member_of` is the network of cloison's own that it is on without being a port of its bridge: routed."""

    table: str
    host_name: str
    mac: str
    addresses: tuple[str, ...] = ()
    prefix6: str = ""
    ports: tuple[Port, ...] = ()
    rules: tuple[Rule, ...] = ()
    is_ruled: bool = False
    is_on_loopback: bool = False
    is_mac_filtered: bool = False
    is_ip_filtered: bool = False
    egress_bps: int = 0
    member_of: str = ""

    @property
    def watches_out(self) -> bool:
        """Whether what it sends is looked at."""
        return bool(self.rules) or self.is_mac_filtered or self.is_ip_filtered


def document(nic: Nic) -> str:
    """What `nft --json` is told once the host's end is there, a document a line; empty where there is nothing to say.

    The tables are those of `table.installation`. Carried out again, with other values, those take the place of these,
    but for ports, filters and rules of which none is left: see `remove`.

    The sets are a document of their own: nft 1.0.6 makes another kind of set, "dynamic", where it sees what puts
    elements in, cannot be told so in JSON, and so would refuse the same document a second time."""
    sets = Document(nic.table)
    if nic.rules:
        for name, type_ in _flows(nic):
            sets.set(NETDEV, name, type_, **_FLOWS)
    return "\n".join(filter(None, (sets.text(), _chains(nic).text())))


def _chains(nic: Nic) -> Document:
    into = Document(nic.table)
    if nic.member_of:
        _join(into, nic)
    if nic.ports:
        _forward_ports(into, nic)
    if nic.rules:
        _remember(into, nic)
    if nic.watches_out:
        chain = f"out_{nic.host_name}"
        into.base_chain(NETDEV, chain, "ingress", 0, device=nic.host_name)
        _filter_mac(into, nic, chain)
        _filter_ip(into, nic, chain)
        _judge(into, nic, chain, "out")
    if nic.egress_bps:
        chain = f"rate_{nic.host_name}"  # of its own, since accepting a packet ends no more than one chain
        into.base_chain(NETDEV, chain, "ingress", _BEHIND, device=nic.host_name)
        into.rule(NETDEV, chain, COUNTER, nft.forward_to(queue_of(nic.host_name)), comment="limits.egress")
    if nic.rules:
        chain = f"in_{nic.host_name}"
        into.base_chain(NETDEV, chain, "egress", 0, device=nic.host_name)
        _judge(into, nic, chain, "in")
    return into


def remove(nic: Nic) -> str:
    """What takes `document` back, however much of it is there; also when the host's end is gone."""
    into = Document(nic.table)
    if nic.member_of:
        _leave(into, nic)
    if nic.ports:
        into.chain(INET, f"dnat_{nic.host_name}")
        for map_, elements in _elements(nic).items():
            into.delete_elements(INET, map_, elements)
        into.delete_chain(INET, f"dnat_{nic.host_name}")
        if nic.is_on_loopback:
            into.delete_elements(INET, "on_loopback", [nic.host_name])
    if nic.egress_bps:
        into.delete_chain(NETDEV, f"rate_{nic.host_name}")
    if nic.watches_out or nic.is_ruled:
        into.delete_chain(NETDEV, f"out_{nic.host_name}")
    if nic.rules or nic.is_ruled:
        into.delete_chain(NETDEV, f"in_{nic.host_name}")
        into.delete_chain(NETDEV, f"pass_{nic.host_name}")
        for name, type_ in _flows(nic):
            into.delete_set(NETDEV, name, type_, **_FLOWS)
    return into.text()


# --- networks --------------------------------------------------------------------------------------------------------

_WAYS = {"forward_from": "leaves", "forward_to": "enters", "input_from": "asks", "output_to": "asked"}


def _join(into: Document, nic: Nic) -> None:
    into.set(INET, table.members(nic.member_of), "ifname")
    for set_ in ("bridges", table.members(nic.member_of)):
        into.elements(INET, set_, [nic.host_name])
    for map_, chain in table.ways(nic.member_of).items():
        own = f"{_WAYS[map_]}_{nic.host_name}"
        into.chain(INET, own)
        into.rule(INET, own, nft.goto(chain))
        into.elements(INET, map_, [[nic.host_name, nft.goto(own)]])


def _leave(into: Document, nic: Nic) -> None:
    into.set(INET, table.members(nic.member_of), "ifname")
    for set_ in ("bridges", table.members(nic.member_of)):
        into.delete_elements(INET, set_, [nic.host_name])
    for map_, prefix in _WAYS.items():
        own = f"{prefix}_{nic.host_name}"
        into.chain(INET, own)
        into.delete_elements(INET, map_, [[nic.host_name, nft.goto(own)]])
        into.delete_chain(INET, own)


# --- ports -----------------------------------------------------------------------------------------------------------


def _forward_ports(into: Document, nic: Nic) -> None:
    chain = f"dnat_{nic.host_name}"
    into.chain(INET, chain)
    targets = _targets(nic)
    if not targets:
        raise Invalid(f"the interface {nic.host_name} has no address that its ports could be forwarded to")
    for port in nic.ports:
        outside = match(field(port.protocol, "dport"), nft.span(port.first, port.last))
        for keyword, target in targets:
            if port.address and (":" in port.address) != (keyword == _IP6):
                continue
            own = [match(field(keyword, "daddr"), port.address)] if port.address else []
            to: Expression = {"family": keyword, "addr": target}
            if port.inside != port.first:
                to["port"] = _inside(port)
            into.rule(INET, chain, *own, outside, COUNTER, {"dnat": to}, comment=_said(port))
    for map_, elements in _elements(nic).items():
        into.elements(INET, map_, elements)
    if nic.is_on_loopback:
        into.elements(INET, "on_loopback", [nic.host_name])


def _targets(nic: Nic) -> list[tuple[str, str]]:
    """The first address of each family."""
    found: dict[str, str] = {}
    for address in nic.addresses:
        found.setdefault(_IP6 if ":" in address else _IP, host_of(address))
    return list(found.items())


def _inside(port: Port) -> object:
    """The port inside: a number, or of a range each its own, since the kernel would take any of them."""
    if port.first == port.last:
        return port.inside
    pairs = [[number, port.inside + number - port.first] for number in range(port.first, port.last + 1)]
    return {"map": {"key": field(port.protocol, "dport"), "data": {"set": pairs}}}


def _elements(nic: Nic) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for port in nic.ports:
        span = nft.span(port.first, port.last)
        key = [port.address, port.protocol, span] if port.address else [port.protocol, span]
        map_ = "ports" if not port.address else "ports6" if ":" in port.address else "ports4"
        found.setdefault(map_, []).append([{"concat": key}, nft.goto(f"dnat_{nic.host_name}")])
    return found


def _said(port: Port) -> str:
    def span(first: int, last: int) -> str:
        return str(first) if first == last else f"{first}-{last}"

    where = f"[{port.address}]:" if ":" in port.address else f"{port.address}:" if port.address else ""
    inside = span(port.inside, port.inside + port.last - port.first)
    return f"{where}{span(port.first, port.last)}/{port.protocol}={inside}"


# --- filters ---------------------------------------------------------------------------------------------------------


def _filter_mac(into: Document, nic: Nic, chain: str) -> None:
    if not (nic.is_mac_filtered or nic.is_ip_filtered):
        return
    said = "security.mac_filter" if nic.is_mac_filtered else "security.ip_filter"
    for protocol, name in (("ether", "saddr"), ("arp", "saddr ether")):
        into.rule(NETDEV, chain, match(field(protocol, name), nic.mac, "!="), COUNTER, DROP, comment=said)
    # An answer to a neighbour solicitation names a MAC address in its option: type 2, length 1, behind 24 bytes.
    is_advert = match(field("icmpv6", "type"), "nd-neighbor-advert")
    option = match(nft.bits("th", 192, 16), 0x0201)
    other = match(nft.bits("th", 208, 48), int(nic.mac.replace(":", ""), 16), "!=")
    into.rule(NETDEV, chain, is_advert, option, other, COUNTER, DROP, comment=said)


def _filter_ip(into: Document, nic: Nic, chain: str) -> None:
    """What is not listed is dropped: addresses, tags of VLANs, other protocols than ARP and IP."""
    if not nic.is_ip_filtered:
        return
    said = "security.ip_filter"
    kind = field("ether", "type")
    into.rule(NETDEV, chain, match(kind, {"set": [_ARP, _IP, _IP6]}, "!="), COUNTER, DROP, comment=said)
    own4 = [host_of(each) for each in nic.addresses if ":" not in each]
    arp = match(field("arp", "saddr ip"), nft.any_of([*own4, "0.0.0.0"]), "!=")  # 0.0.0.0: a probe, RFC 5227
    into.rule(NETDEV, chain, match(kind, _ARP), arp, COUNTER, DROP, comment=said)
    wrong4 = match(field("ip", "saddr"), nft.any_of([*own4, "0.0.0.0"]), "!=")
    into.rule(NETDEV, chain, wrong4, COUNTER, DROP, comment=said)
    is_nobody = match(field("ip", "saddr"), "0.0.0.0")
    into.rule(NETDEV, chain, is_nobody, match(meta("l4proto"), "udp", "!="), COUNTER, DROP, comment=said)
    into.rule(NETDEV, chain, is_nobody, match(field("udp", "dport"), _DHCP_SERVER, "!="), COUNTER, DROP, comment=said)
    _filter_ip6(into, nic, chain, said)


def _filter_ip6(into: Document, nic: Nic, chain: str, said: str) -> None:
    own6 = [host_of(each) for each in nic.addresses if ":" in each]
    own6 += [inet.eui64(prefix, nic.mac) for prefix in ("fe80::/64", nic.prefix6) if prefix]
    source = field("ip6", "saddr")
    into.rule(NETDEV, chain, match(source, nft.any_of([*own6, "::"]), "!="), COUNTER, DROP, comment=said)
    # Nobody has no address but who looks for a double of his own, and who joins a group before that (RFC 4862, 3590).
    is_nobody, names = match(source, "::"), ["nd-neighbor-solicit", "nd-router-solicit", "mld2-listener-report"]
    into.rule(NETDEV, chain, is_nobody, match(meta("l4proto"), "icmpv6", "!="), COUNTER, DROP, comment=said)
    into.rule(
        NETDEV, chain, is_nobody, match(field("icmpv6", "type"), {"set": names}, "!="), COUNTER, DROP, comment=said
    )
    is_advert = match(field("icmpv6", "type"), "nd-neighbor-advert")
    numbers = [f"0x{inet.packed(address).hex()}" for address in own6]
    target = match(nft.bits("th", 64, 128), nft.any_of(numbers), "!=")
    into.rule(NETDEV, chain, is_advert, target, COUNTER, DROP, comment=said)
    router = {"set": ["nd-router-advert", "nd-redirect"]}
    into.rule(NETDEV, chain, match(field("icmpv6", "type"), router), COUNTER, DROP, comment=said)


# --- rules of access -------------------------------------------------------------------------------------------------


def _flows(nic: Nic) -> list[tuple[str, list[str]]]:
    rest = ["inet_proto", "inet_service", "inet_service"]
    return [
        (f"flows4_{nic.host_name}", ["ipv4_addr", "ipv4_addr", *rest]),
        (f"flows6_{nic.host_name}", ["ipv6_addr", "ipv6_addr", *rest]),
    ]


def _judge(into: Document, nic: Nic, chain: str, direction: str) -> None:
    """Answers pass; then the first rule that says something about a packet decides; what no rule mentions passes."""
    if not nic.rules:
        return
    into.rule(NETDEV, chain, match(field("ether", "type"), _ARP), ACCEPT)
    tagged = match(field("ether", "type"), {"set": ["8021q", "8021ad"]})
    into.rule(NETDEV, chain, tagged, COUNTER, DROP, comment="the tag of a VLAN hides from the rules what it carries")
    for keyword, set_ in ((_IP, f"flows4_{nic.host_name}"), (_IP6, f"flows6_{nic.host_name}")):
        into.rule(NETDEV, chain, match(_flow(keyword), f"@{set_}"), ACCEPT)
    for protocol, answers in (("icmp", _ICMP_ANSWERS), ("icmpv6", [*_ICMPV6_ANSWERS, *_NEIGHBOURS, *_LISTENERS])):
        into.rule(NETDEV, chain, match(field(protocol, "type"), {"set": answers}), ACCEPT)
    here, there = ("sport", "dport") if direction == "out" else ("dport", "sport")
    for server, client in _DHCP:  # both ends: anybody may send from one of these ports to another service
        into.rule(NETDEV, chain, match(field("udp", here), client), match(field("udp", there), server), ACCEPT)
    passing = f"pass_{nic.host_name}"
    for rule in nic.rules:
        if rule.direction == direction:
            for parts in table.conditions_of(rule):
                verdict = nft.goto(passing) if rule.action == "allow" else DROP
                into.rule(NETDEV, chain, *parts, COUNTER, verdict, comment=rule.text)
    into.rule(NETDEV, chain, nft.goto(passing))


def _remember(into: Document, nic: Nic) -> None:
    """The chain in which what is allowed has its answers remembered.

    Most of a connection prolongs its stay, its end shortens it, and an acknowledgement alone does neither: one more
    follows the end."""
    chain = f"pass_{nic.host_name}"
    into.chain(NETDEV, chain)
    ends, speaks = ({"|": ["fin", "rst"]}, {"|": ["syn", "psh"]})
    for keyword, name in ((_IP, f"flows4_{nic.host_name}"), (_IP6, f"flows6_{nic.host_name}")):
        key = _flow(keyword, is_answer=True)
        for flags, timeout_s in ((speaks, _TCP_S), (ends, _TCP_ENDED_S)):
            has = match({"&": [field("tcp", "flags"), flags]}, 0, "!=")
            into.rule(NETDEV, chain, has, nft.remember(key, name, timeout_s))
        into.rule(NETDEV, chain, match(meta("l4proto"), "tcp"), nft.remember(key, name, _TCP_S, is_prolonging=False))
        into.rule(NETDEV, chain, match(meta("l4proto"), "udp"), nft.remember(key, name, _UDP_S))
    into.rule(NETDEV, chain, ACCEPT)


def _flow(keyword: str, *, is_answer: bool = False) -> Expression:
    """Who speaks to whom; of a packet whose answer is meant, the other way round."""
    ends = ("daddr", "saddr") if is_answer else ("saddr", "daddr")
    ports = ("dport", "sport") if is_answer else ("sport", "dport")
    addresses = [field(keyword, name) for name in ends]
    return nft.concat(*addresses, meta("l4proto"), *(field("th", name) for name in ports))
