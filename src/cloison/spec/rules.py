"""Rules of access, of a network or of one nic: who may talk to whom. Pure.

    deny in tcp 22 from 10.0.0.0/8; allow out udp 53 to dns-box; deny out

    RULE   allow|deny in|out [tcp|udp|icmp|any] [PORTS] [from WHO] [to WHO]
    PORTS  80   8000-8010   80,443     of the destination; only of tcp and udp
    WHO    an address, a CIDR, an instance or a network; several with commas between

The first rule that fits decides; where none does, it is allowed. `in` is towards the instance. Answers to what was
allowed are allowed.
"""

import msgspec

from cloison.base import inet
from cloison.base.errors import Invalid
from cloison.base.ids import check_name
from cloison.spec.key import refuse

PROTOCOLS = ("tcp", "udp", "icmp", "any")
MAX_PORT = 65535
MAX_RULES = 256
_FORM = "write it as allow|deny in|out [tcp|udp|icmp|any] [PORTS] [from WHO] [to WHO]"


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule. `ports` are (first, last); `sources` and `destinations` are as in the text, () is everybody."""

    action: str
    direction: str
    protocol: str = "any"
    ports: tuple[tuple[int, int], ...] = ()
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [self.action, self.direction]
        words += [self.protocol] if self.protocol != "any" or self.ports else []
        words += [",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ports)] if self.ports else []
        words += ["from " + ",".join(self.sources)] if self.sources else []
        words += ["to " + ",".join(self.destinations)] if self.destinations else []
        return " ".join(words)

    @property
    def names(self) -> tuple[str, ...]:
        """The instances and networks that it speaks of."""
        return tuple(who for who in (*self.sources, *self.destinations) if not is_address(who))


def is_address(who: str) -> bool:
    """Whether it is an address or a CIDR, and no name: a name has no dot, no colon and no slash."""
    return bool(set(who) & set(".:/"))


def parse(key: str, text: str) -> tuple[Rule, ...]:
    """The rules of a list; `;` stands between them. Raises Invalid."""
    found = tuple(_rule(key, text, part.split()) for part in text.split(";") if part.strip())
    if not found:
        refuse(key, text, f"there is no rule in it; {_FORM}")
    if len(found) > MAX_RULES:
        refuse(key, text, f"these are {len(found)} rules, at most {MAX_RULES} are possible")
    return found


def to_text(rules: tuple[Rule, ...]) -> str:
    """What `parse` reads back."""
    return "; ".join(map(str, rules))


def _rule(key: str, text: str, words: list[str]) -> Rule:
    said = " ".join(words)
    if len(words) < 2 or words[0] not in ("allow", "deny") or words[1] not in ("in", "out"):
        refuse(key, text, f'"{said}" is no rule; {_FORM}')
    action, direction, *rest = words
    protocol = rest.pop(0) if rest and rest[0] in PROTOCOLS else "any"
    ports = _ports(key, text, rest.pop(0)) if rest and rest[0] not in ("from", "to") else ()
    if ports and protocol not in ("tcp", "udp"):
        refuse(key, text, f'"{said}": ports are of tcp or of udp; write one of the two before them')
    ends: dict[str, tuple[str, ...]] = {}
    while rest:
        end = rest.pop(0)
        if end not in ("from", "to") or end in ends or not rest:
            refuse(key, text, f'"{said}": "{end}" is not understood; {_FORM}')
        ends[end] = tuple(_who(key, text, who) for who in rest.pop(0).split(","))
    rule = Rule(action, direction, protocol, ports, ends.get("from", ()), ends.get("to", ()))
    _expect_one_family(key, text, rule)
    return rule


def _ports(key: str, text: str, word: str) -> tuple[tuple[int, int], ...]:
    try:
        return tuple(port_range(part) for part in word.split(","))
    except Invalid as problem:
        refuse(key, text, str(problem))


def port_range(text: str) -> tuple[int, int]:
    """`80` or `8000-8010`, as the first and the last. Raises Invalid."""
    first, dash, last = text.partition("-")
    ends = (first, last) if dash else (first, first)
    if not all(end.isascii() and end.isdecimal() and len(end) < 6 and 1 <= int(end) <= MAX_PORT for end in ends):
        raise Invalid(f'"{text}" is no port; write numbers from 1 to {MAX_PORT}, such as 80 or 8000-8010')
    if int(ends[0]) > int(ends[1]):
        raise Invalid(f'"{text}" ends before it begins; write it as {last}-{first}')
    return int(ends[0]), int(ends[1])


def _who(key: str, text: str, who: str) -> str:
    try:
        if not is_address(who):
            return check_name(who, what="an instance or a network")
        return inet.subnet(who) if "/" in who else inet.canonical(who)
    except Invalid as problem:
        refuse(key, text, str(problem))


def _expect_one_family(key: str, text: str, rule: Rule) -> None:
    """No packet has a source of the one and a destination of the other family."""
    sources, destinations = (
        {":" in who for who in ends if is_address(who)} if all(map(is_address, ends)) else {True, False}
        for ends in (rule.sources or ("::", "0.0.0.0"), rule.destinations or ("::", "0.0.0.0"))
    )
    if not sources & destinations:
        refuse(key, text, f'"{rule}": one end is IPv4, the other IPv6; no packet is both')
