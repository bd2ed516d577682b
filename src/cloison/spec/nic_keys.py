"""The keys of the groups `nics` and `ports`: how each is read and written, and which go together. Pure.

What depends on the host or on other instances is judged in `cloison.engine.networks`.
Source: linux/if.h (IFNAMSIZ), dev_valid_name() in net/core/dev.c; IEEE 802.1Q; RFC 8200 section 5.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from cloison.base import inet
from cloison.base.errors import Invalid
from cloison.base.ids import check_name
from cloison.spec import key as keys
from cloison.spec import rules
from cloison.spec.key import Key, refuse
from cloison.spec.network import Route
from cloison.spec.nics import (
    AUTO,
    BRIDGED,
    DHCP,
    IPVLAN,
    IPVLAN_MODES,
    MACVLAN,
    MACVLAN_MODES,
    NONE,
    P2P,
    PHYS,
    ROUTED,
    TYPES,
    VLAN,
    WHOLE,
    HostPorts,
    Nic,
    Target,
    ports_text,
)

MAX_NAME = 15  # bytes: IFNAMSIZ counts the end of the text too
MIN_MTU, MIN_MTU6, MAX_MTU = 68, 1280, 65535
MAX_VLAN = 4094
MAX_METRIC = (1 << 32) - 1
MIN_RATE, MAX_RATE = 64_000, 1_000_000_000_000  # below, one full packet takes longer than a fifth of a second
_MAC = re.compile(r"[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2}){4}", re.ASCII)
_RATE = re.compile(r"([0-9]{1,12})(\.[0-9]{1,9})?([kKmMgG]?)(bit)?", re.ASCII)
_UNITS = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}


# --- values --------------------------------------------------------------------------------------------------


def interface_name(text: str) -> str:
    """The name of an interface inside. Raises Invalid."""
    if len(text.encode()) > MAX_NAME:
        raise Invalid(f'"{text}" is too long for an interface: the kernel takes {MAX_NAME} bytes at most')
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII):
        raise Invalid(f'"{text}" is no name of an interface; write letters, digits, - and _, such as eth0')
    if text in ("lo", "all", "default"):
        raise Invalid(f'"{text}" means something else to the kernel; choose another name, such as eth0')
    return text


def host_interface(key: str, text: str) -> str:
    """The name of an interface of the host, which may be any that the kernel takes."""
    is_name = 1 <= len(text.encode()) <= MAX_NAME and text not in (".", "..", "lo")
    if not is_name or set(text) & set("/:% \t\n") or not text.isprintable():
        refuse(key, text, f"write the name of an interface of the host, at most {MAX_NAME} bytes, such as eth0")
    return text


def network_name(key: str, text: str) -> str:
    """The name of a network."""
    try:
        return check_name(text, what="a network")
    except Invalid as problem:
        refuse(key, text, str(problem))


def mac(key: str, text: str) -> str:
    """A MAC address that a single interface may have."""
    found = text.lower()
    if not _MAC.fullmatch(found):
        refuse(key, text, "write six bytes in hexadecimal, such as 02:c1:05:12:34:56")
    found = found.replace("-", ":")
    if int(found[:2], 16) & 1:
        refuse(key, text, "this addresses a group (the first byte is odd), not an interface; 02:c1:05:12:34:56 is one")
    if found == "00:00:00:00:00:00":
        refuse(key, text, "this means that there is no address; write one, such as 02:c1:05:12:34:56")
    return found


def rate(key: str, text: str) -> int:
    """Bits per second, in powers of 1000, as of all that is sent over wires."""
    found = _RATE.fullmatch(text)
    if not found:
        refuse(key, text, "write bits per second, such as 100Mbit, 2.5Gbit or 512kbit")
    whole, fraction, unit, _bit = found.groups()
    scale = _UNITS[unit.lower()]
    bps = int(whole) * scale + (int(fraction[1:]) * scale // 10 ** (len(fraction) - 1) if fraction else 0)
    if not MIN_RATE <= bps <= MAX_RATE:
        refuse(key, text, f"write from {rate_text(MIN_RATE)} to {rate_text(MAX_RATE)}, such as 100Mbit")
    return bps


def rate_text(bps: int) -> str:
    """What `rate` reads back."""
    for unit, scale in (("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000)):
        if bps % scale == 0:
            return f"{bps // scale}{unit}"
    return f"{bps}bit"


def unicast(key: str, text: str, address: str) -> str:
    """An address, with a prefix length or without, that one interface can have; in its one spelling."""
    try:
        found = inet.canonical(address)
        raw, _prefix = inet.split(address)
    except Invalid as problem:
        refuse(key, text, str(problem))
    is_special = raw[0] in (0, 127) or raw[0] >= 224 if len(raw) == 4 else raw[0] == 0xFF or not any(raw[:15])
    if is_special:
        refuse(key, text, f"no interface can have the address {address}; write one such as 10.0.0.2/24 or fd00::2/64")
    return found


def _addresses(key: str, text: str) -> tuple[str, ...]:
    if text in (AUTO, DHCP, NONE):
        return (text,)
    parts = _listed(key, text)
    if set(parts) & {AUTO, DHCP, NONE}:
        refuse(key, text, f"{AUTO}, {DHCP} and {NONE} stand alone; write one of them, or addresses such as 10.0.0.2/24")
    return tuple(unicast(key, text, part) for part in parts)


def _gateway(key: str, text: str) -> tuple[str, ...]:
    if text == NONE:
        return (NONE,)
    found = tuple(_address(key, text, part) for part in _listed(key, text))
    if len({":" in each for each in found}) < len(found):
        refuse(key, text, "there is one default route in IPv4 and one in IPv6; write one address of each at most")
    return found


def _dns(key: str, text: str) -> tuple[str, ...]:
    return tuple(_address(key, text, part) for part in _listed(key, text))


def _address(key: str, text: str, part: str) -> str:
    if "/" in part:
        refuse(key, text, f"{part} is a subnet; write an address, such as 10.0.0.1")
    return unicast(key, text, part)


def _listed(key: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts or len(set(parts)) < len(parts):
        refuse(key, text, "write every item of the list once, with a comma between two")
    return parts


def _routes(key: str, text: str) -> tuple[Route, ...]:
    return tuple(_route(key, text, part.split()) for part in text.split(","))


def _route(key: str, text: str, words: list[str]) -> Route:
    said = " ".join(words)
    options = dict(zip(words[1::2], words[2::2], strict=False))
    if len(words) % 2 == 0 or set(options) - {"via", "metric"} or len(options) != len(words) // 2:
        refuse(
            key,
            text,
            f'"{said}" is no route; write CIDR [via ADDRESS] [metric NUMBER], such as 10.9.0.0/16 via 10.0.0.1',
        )
    destination = words[0]
    if destination != "default":
        try:
            destination = inet.subnet(destination)
        except Invalid as problem:
            refuse(key, text, str(problem))
    via = _address(key, text, options["via"]) if "via" in options else ""
    if via and destination != "default" and (":" in via) != (":" in destination):
        refuse(key, text, f"{destination} cannot be reached via {via}: one is IPv4, the other IPv6")
    if destination == "default" and not via:
        refuse(key, text, 'a default route takes "via ADDRESS", such as default via 10.0.0.1')
    metric = keys.whole(0, MAX_METRIC, "100")(key, options["metric"]) if "metric" in options else 0
    return Route(destination, via, metric)


def _routes_text(found: tuple[Route, ...]) -> str:
    return ", ".join(
        each.destination + (f" via {each.via}" if each.via else "") + (f" metric {each.metric}" if each.metric else "")
        for each in found
    )


def _list_text(found: tuple[str, ...]) -> str:
    return ",".join(found)


# --- ports ---------------------------------------------------------------------------------------------------


def host_ports(text: str) -> HostPorts:
    """Ports of the host: `8080/tcp`, `192.0.2.1:8080-8090/udp`, `[2001:db8::1]:53/udp`; no protocol is tcp.

    Raises Invalid."""
    where, slash, protocol = text.partition("/")
    address, _colon, ports = where.rpartition(":")
    if (slash and protocol not in ("tcp", "udp")) or (":" in address and not (address[0] + address[-1] == "[]")):
        raise Invalid(
            f'"{text}" is no port of the host; write [ADDRESS:]PORT[-PORT]/tcp or /udp, such as 8080/tcp, '
            "192.0.2.1:53/udp or [2001:db8::1]:53/udp"
        )
    first, last = rules.port_range(ports)
    bare = address.removeprefix("[").removesuffix("]")
    bare = "" if bare == "0.0.0.0" else bare
    return HostPorts(protocol or "tcp", first, last, inet.text(inet.packed(bare)) if bare else "")


def _ports_item(item: str) -> str:
    return str(host_ports(item))


def _target(key: str, text: str) -> Target:
    ports, at, nic = text.partition("@")
    host = host_ports(key.removeprefix("ports."))
    try:
        first, last = rules.port_range(ports)
        nic = interface_name(nic) if at else ""
    except Invalid as problem:
        refuse(key, text, str(problem))
    if host.address in ("::1", "::"):
        words = (
            "the kernel lets nothing out that comes from ::1 (IPv6 has no route_localnet); 127.0.0.1 is reached, and an"
            " address of the host's interfaces"
            if host.address == "::1"
            else "no packet is sent to ::; without an address a port is one of every address, of IPv4 and of IPv6"
        )
        refuse(key, text, words)
    if last - first != host.last - host.first:
        refuse(
            key, text, f"{last - first + 1} ports inside for {host.last - host.first + 1} of the host; write as many"
        )
    return Target(first, last, nic)


def _target_text(target: Target) -> str:
    return ports_text(target.first, target.last) + (f"@{target.nic}" if target.nic else "")


# --- keys ----------------------------------------------------------------------------------------------------


def _nic(
    name: str,
    parse: Callable[[str, str], object],
    format: Callable[[Any], str],
    meaning: str,
    example: str,
    field: str = "",
    *,
    is_live: bool = True,
) -> Key:
    return Key(
        f"nics.*.{name}",
        parse,
        format,
        meaning,
        example,
        item=interface_name,
        samples=("eth0",),
        field=f"nics.*.{field or name}",
        is_live=is_live,
    )


NIC_KEYS: tuple[Key, ...] = (
    _nic("type", keys.one_of(*TYPES), str, f"what it is: {', '.join(TYPES)}", BRIDGED),
    _nic("network", network_name, str, "the network that it is on: bridged, routed", "cloison0"),
    _nic("parent", host_interface, str, "the interface of the host that it is on, or that is lent (phys)", "enp1s0"),
    _nic("mode", keys.one_of(*MACVLAN_MODES, *IPVLAN_MODES), str, "of a macvlan or an ipvlan", "bridge"),
    _nic("vlan", keys.whole(1, MAX_VLAN, "100"), str, "its VLAN (IEEE 802.1Q)", "100"),
    _nic("mac", mac, str, "its MAC address (default: one that stays)", "02:c1:05:12:34:56"),
    _nic("mtu", keys.whole(MIN_MTU, MAX_MTU, "1500"), str, "bytes of its largest packet", "1400"),
    _nic("addresses", _addresses, _list_text, "auto, dhcp, none, or a list: 10.0.0.2/24,fd00::2/64", "10.0.0.2/24"),
    _nic("gateway", _gateway, _list_text, "default routes: none, or an address of each family", "10.0.0.1"),
    _nic(
        "routes",
        _routes,
        _routes_text,
        "further routes: CIDR [via ADDRESS] [metric N], ...",
        "10.9.0.0/16 via 10.0.0.1",
    ),
    _nic("dns", _dns, _list_text, "name servers, instead of the network's", "10.0.0.53", is_live=False),  # in a file
    _nic("limits.ingress", rate, rate_text, "bits per second to the instance", "100Mbit", "ingress_bps"),
    _nic("limits.egress", rate, rate_text, "bits per second from the instance", "20Mbit", "egress_bps"),
    _nic("security.mac_filter", keys.flag, keys.flag_text, "it can send under its own MAC alone", "true", "mac_filter"),
    _nic("security.ip_filter", keys.flag, keys.flag_text, "and under its own addresses alone", "true", "ip_filter"),
    _nic("rules", rules.parse, rules.to_text, "who may talk to whom: see docs/networks.md", "deny in tcp 22"),
    _nic("force", keys.flag, keys.flag_text, "lend even what the host itself depends on (phys)", "true"),
)
PORT_KEYS: tuple[Key, ...] = (
    Key(
        "ports.*",
        _target,
        _target_text,
        "a port of the host, [ADDRESS:]PORT[-PORT]/tcp or /udp, leads to PORT[-PORT][@NIC] inside",
        "80",
        item=_ports_item,
        samples=("8080/tcp", "[2001:db8::1]:8080/udp"),
        is_live=True,
    ),
)

# Which keys mean something for a type: what would be ignored is refused.
_ALWAYS = frozenset({"type", "mtu", "addresses", "gateway", "routes", "dns"})
_PAIR = _ALWAYS | {"mac", "ingress_bps", "egress_bps", "rules", "mac_filter", "ip_filter"}
_FITTING: dict[str, frozenset[str]] = {
    **dict.fromkeys(WHOLE, frozenset({"type"})),
    BRIDGED: _PAIR | {"network", "parent", "vlan"},
    ROUTED: (_PAIR - {"gateway"}) | {"network", "parent"},
    MACVLAN: _ALWAYS | {"parent", "mode", "mac"},
    IPVLAN: _ALWAYS | {"parent", "mode"},
    VLAN: _ALWAYS | {"parent", "vlan", "mac"},
    PHYS: _ALWAYS | {"parent", "mac", "force"},
    P2P: _PAIR,
}
_NEEDED = {MACVLAN: ("parent",), IPVLAN: ("parent",), VLAN: ("parent", "vlan"), PHYS: ("parent",)}
_SPELLED = {key.field.removeprefix("nics.*."): key.name.removeprefix("nics.*.") for key in NIC_KEYS}
_KEY_OF = {key.field.removeprefix("nics.*."): key for key in NIC_KEYS}


def check(nics: dict[str, Nic], ports: dict[str, Target]) -> None:
    """Raise Invalid where keys do not go together, whatever the host is."""
    whole = [name for name, nic in nics.items() if nic.kind in WHOLE]
    if whole and len(nics) > 1:
        kind = nics[whole[0]].kind
        refuse(
            f"nics.{whole[0]}.type",
            kind,
            f"says what the whole network is; {_others(nics, whole[0])} cannot be beside it",
        )
    for name, nic in nics.items():
        _check_nic(name, nic)
    _expect_different(nics)
    for text, target in ports.items():
        _check_port(text, target, nics)
    _expect_disjoint(list(ports))


def _others(nics: dict[str, Nic], name: str) -> str:
    return ", ".join(f"nics.{other}" for other in nics if other != name)


def _check_nic(name: str, nic: Nic) -> None:
    said = {field: value for field, value in msgspec.structs.asdict(nic).items() if value != getattr(Nic(), field)}
    for field, value in said.items():
        if field not in _FITTING[nic.kind]:
            able = [kind for kind in TYPES if field in _FITTING[kind]]
            _refuse(name, field, value, f"means nothing for the type {nic.kind}, but for {', '.join(able)}")
    for field in _NEEDED.get(nic.kind, ()):
        if field not in said:
            example = _KEY_OF[field].example
            _refuse(name, "type", nic.kind, f"takes nics.{name}.{_SPELLED[field]} too, such as {example}")
    if nic.network and nic.parent:
        _refuse(name, "parent", nic.parent, f"it is on the network {nic.network} already; take one of the two back")
    _check_mode(name, nic)
    _check_addresses(name, nic)


def _check_mode(name: str, nic: Nic) -> None:
    modes = {MACVLAN: MACVLAN_MODES, IPVLAN: IPVLAN_MODES}.get(nic.kind)
    if nic.mode and modes and nic.mode not in modes:
        _refuse(name, "mode", nic.mode, f"the modes of {nic.kind} are {', '.join(modes)}")


def _check_addresses(name: str, nic: Nic) -> None:
    texts = [each.partition("/")[0] for each in nic.fixed]
    if len(set(texts)) < len(texts):
        _refuse(name, "addresses", nic.addresses, "one address is there twice")
    if nic.addresses == (AUTO,) and not nic.on:
        _refuse(name, "addresses", nic.addresses, f"only a network gives addresses; write {DHCP} or addresses")
    if nic.addresses == (DHCP,) and nic.kind in (ROUTED, P2P):
        _refuse(
            name, "addresses", nic.addresses, f"nobody answers DHCP on a nic of the type {nic.kind}; write addresses"
        )
    if nic.kind == ROUTED and not nic.is_auto and not nic.fixed:
        _refuse(name, "addresses", nic.addresses, "the host routes addresses to it, and so has to know them")
    if nic.mtu is not None and nic.mtu < MIN_MTU6 and any(":" in each for each in (*texts, *nic.gateway)):
        _refuse(name, "mtu", nic.mtu, f"IPv6 takes {MIN_MTU6} bytes at least")
    if nic.ip_filter and nic.addresses == (DHCP,) and not nic.on:
        _refuse(name, "ip_filter", nic.ip_filter, "which addresses those are is known on a network only; name some")
    if nic.ip_filter and (nic.addresses == (NONE,) or (nic.kind == P2P and not nic.fixed)):
        _refuse(name, "ip_filter", nic.ip_filter, "without addresses it could send nothing at all; name some")


def _expect_different(nics: dict[str, Nic]) -> None:
    seen: dict[str, str] = {}
    ways: dict[bool, str] = {}
    lent: dict[str, str] = {}
    for name, nic in nics.items():
        if nic.mac and nic.mac in seen:
            _refuse(name, "mac", nic.mac, f"nics.{seen[nic.mac]} has it already")
        seen[nic.mac] = name
        for gateway in nic.gateway:
            if gateway != NONE and ways.setdefault(":" in gateway, name) != name:
                _refuse(name, "gateway", nic.gateway, f"nics.{ways[':' in gateway]} has the default route already")
        if nic.kind == PHYS:
            if nic.parent in lent:
                _refuse(name, "parent", nic.parent, f"nics.{lent[nic.parent]} has it already")
            lent[nic.parent] = name


def _check_port(text: str, target: Target, nics: dict[str, Nic]) -> None:
    key = f"ports.{text}"
    name = target.nic or next(iter(sorted(nics)), "")
    nic = nics.get(name)
    if nic is None:
        refuse(
            key, _target_text(target), f"there is no nic {name!r}" if name else "there is no nic that it could lead to"
        )
    if nic.kind not in (BRIDGED, ROUTED, P2P) or (nic.kind == BRIDGED and nic.parent):
        refuse(key, _target_text(target), f"nics.{name} is not behind this host, where others could be sent on to it")
    if not nic.is_auto and not nic.fixed and nic.addresses != (DHCP,):
        refuse(key, _target_text(target), f"nics.{name} has no address to lead to")


def _expect_disjoint(texts: list[str]) -> None:
    known = [host_ports(text) for text in texts]
    for at, one in enumerate(known):
        for other in known[:at]:
            if one.meets(other):
                raise Invalid(f"ports.{one}: ports.{other} wants the same port", key=f"ports.{one}")


def _refuse(name: str, field: str, value: object, why: str) -> None:
    key = _KEY_OF[field]
    refuse(f"nics.{name}.{_SPELLED[field]}", key.format(value), why)
