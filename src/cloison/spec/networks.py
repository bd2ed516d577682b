"""What a network is made of: its options, addressed by one word each. Pure.

    cloison network create lan ipv4=10.9.0.1/24 nat=false

`NETWORK_KEYS` is the list. An empty value takes an option back to its default.
"""

from collections.abc import Iterable, Iterator

import msgspec

from cloison.base import inet
from cloison.base.errors import Invalid
from cloison.spec import key as keys
from cloison.spec import rules
from cloison.spec.key import Key, refuse
from cloison.spec.nic_keys import MAX_MTU, MAX_VLAN, MIN_MTU, MIN_MTU6, host_interface, unicast
from cloison.spec.rules import Rule

AUTO, NONE = "auto", "none"
DEFAULT_DOMAIN = "cloison"
MAX_PREFIX4, MIN_PREFIX4 = 30, 8  # at least one instance beside the bridge
IPV6_PREFIX = 64  # that of SLAAC, RFC 4862


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """The options of a network. `ipv4` and `ipv6` are `auto`, `none`, or the bridge's own address: 10.9.0.1/24."""

    ipv4: str = AUTO
    ipv6: str = AUTO
    nat: bool = True
    dhcp: bool = True
    dns: bool = True
    domain: str = DEFAULT_DOMAIN
    mtu: int | None = None
    isolated: bool = False
    internal: bool = False
    parent: str = ""
    vlan: int | None = None
    rules: tuple[Rule, ...] = ()


def _subnet4(key: str, text: str) -> str:
    if text in (AUTO, NONE):
        return text
    found = unicast(key, text, text)
    _address, slash, prefix = found.partition("/")
    if ":" in found or not slash or not MIN_PREFIX4 <= int(prefix) <= MAX_PREFIX4:
        refuse(
            key,
            text,
            f"write the bridge's own IPv4 address with a prefix length from {MIN_PREFIX4} to {MAX_PREFIX4}, such as "
            f"10.9.0.1/24, or {AUTO} or {NONE}",
        )
    raw, length = inet.split(found)
    host = int.from_bytes(raw, "big") & (1 << 32 - length) - 1
    if host in (0, (1 << 32 - length) - 1):
        refuse(
            key, text, f"the first and the last address of {inet.subnet(found)} are no interface's; 10.9.0.1/24 is one"
        )
    return found


def _subnet6(key: str, text: str) -> str:
    if text in (AUTO, NONE):
        return text
    found = unicast(key, text, text)
    raw, prefix = inet.split(found)
    if len(raw) != 16 or prefix != IPV6_PREFIX or not any(raw[8:]) or raw[:2] == b"\xfe\x80":
        refuse(
            key, text, f"write the bridge's own IPv6 address with the prefix length {IPV6_PREFIX}, such as fd00:9::1/64"
        )
    return found


def _domain(key: str, text: str) -> str:
    labels = text.split(".")
    good = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
    is_label = [1 <= len(label) <= 63 and good.issuperset(label) and label[0] + label[-1] != "-" for label in labels]
    if not all(is_label) or len(text) > 190 or any(label[0] == "-" or label[-1] == "-" for label in labels):
        refuse(key, text, "write a domain in lower case, such as cloison or lab.example.org")
    return text


NETWORK_KEYS: tuple[Key, ...] = (
    Key("ipv4", _subnet4, str, "the bridge's own address with its subnet; auto finds a free one", "10.9.0.1/24", True),
    Key("ipv6", _subnet6, str, "the same, a /64", "fd00:9::1/64", True),
    Key("nat", keys.flag, keys.flag_text, "what goes outside goes under the host's address", "false", True),
    Key("dhcp", keys.flag, keys.flag_text, "answer DHCP and announce the subnet", "false", True),
    Key("dns", keys.flag, keys.flag_text, "resolve the names of instances, and others' for them", "false", True),
    Key("domain", _domain, str, "the domain of those names", "lab.example.org", True),
    Key("mtu", keys.whole(MIN_MTU, MAX_MTU, "1500"), str, "bytes of the largest packet", "1400", True),
    Key("isolated", keys.flag, keys.flag_text, "its instances do not see each other", "true", True),
    Key("internal", keys.flag, keys.flag_text, "nothing goes outside, nothing comes in", "true", True),
    Key("parent", host_interface, str, "a bridge or an interface of the host instead of an own bridge", "br0"),
    Key("vlan", keys.whole(1, MAX_VLAN, "100"), str, "the VLAN of the parent (IEEE 802.1Q)", "100"),
    Key("rules", rules.parse, rules.to_text, "who may talk to whom: see docs/networks.md", "deny in tcp 22", True),
)
_BY_NAME = {key.name: key for key in NETWORK_KEYS}
_OF_OWN_BRIDGES = ("ipv4", "ipv6", "nat", "dhcp", "dns", "domain", "internal")


def find(name: str) -> Key:
    """The option called `name`. Raises Invalid with the nearest one."""
    key = _BY_NAME.get(name)
    if key is None:
        import difflib

        near = difflib.get_close_matches(name, _BY_NAME, n=1)
        raise Invalid(
            f"{name!r} is no option of a network" + (f"; {near[0]!r} is one" if near else ""),
            hint="`cloison network set --help` lists all options",
            key=name,
        )
    return key


def assign_all(options: Options, assignments: Iterable[str]) -> Options:
    """`options` with every `name=value` applied, all or none. Raises Invalid."""
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise Invalid(f"{assignment!r} is no assignment; write name=value, such as nat=false")
        key = find(name)
        value = key.parse(name, text) if text else getattr(Options(), name)
        options = msgspec.structs.replace(options, **{name: value})
    check(options)
    return options


def items(options: Options) -> Iterator[tuple[str, str]]:
    """Every option that is not at its default, as text."""
    for key in NETWORK_KEYS:
        value = getattr(options, key.name)
        if value != getattr(Options(), key.name):
            yield key.name, key.format(value)


def check(options: Options) -> None:
    """Raise Invalid for options that do not go together."""
    said = dict(items(options))
    if options.parent:
        for name in _OF_OWN_BRIDGES:
            if name in said:
                refuse(
                    name,
                    said[name],
                    f"the parent {options.parent} is the host's own, and so are its addresses; take it back",
                )
    elif options.vlan is not None:
        refuse("vlan", said["vlan"], "it is the VLAN of a parent; name that too, such as parent=br0")
    if options.mtu is not None and options.mtu < MIN_MTU6 and options.ipv6 != NONE and not options.parent:
        refuse("mtu", said["mtu"], f"IPv6 takes {MIN_MTU6} bytes at least; raise it, or set ipv6=none")
