"""Packet rules as values of the JSON that nft(8) reads: a document is carried out as a whole or not at all.

Source: libnftables-json(5). Every function here gives a part of a rule; `Document` puts rules into tables. Pure.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

Expression = dict[str, Any]  # of libnftables-json: it never leaves this package but as text
ACCEPT: Expression = {"accept": None}
DROP: Expression = {"drop": None}
COUNTER: Expression = {"counter": {"packets": 0, "bytes": 0}}
MASQUERADE: Expression = {"masquerade": None}


def meta(key: str) -> Expression:
    """What is known of a packet besides its bytes: iifname, oifname, l4proto, nfproto.

    Of protocols nft itself knows tcp, udp, icmp and icmpv6; any other name is looked up in /etc/protocols, which need
    not be there."""
    return {"meta": {"key": key}}


def ct(key: str) -> Expression:
    """What connection tracking knows: state, status."""
    return {"ct": {"key": key}}


def field(protocol: str, name: str) -> Expression:
    """A field of a header: ("ip", "saddr"), ("th", "dport")."""
    return {"payload": {"protocol": protocol, "field": name}}


def bits(base: str, offset: int, length: int) -> Expression:
    """Any bits behind the begin of a header (ll, nh, th)."""
    return {"payload": {"base": base, "offset": offset, "len": length}}


def concat(*parts: Expression) -> Expression:
    """Several parts as one key."""
    return {"concat": list(parts)}


def prefix(cidr: str) -> Any:
    """`10.1.2.0/24`; an address alone as it is."""
    address, slash, length = cidr.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}} if slash else address


def span(first: int, last: int) -> Any:
    """A range of numbers, or one."""
    return first if first == last else {"range": [first, last]}


def any_of(values: Sequence[Any]) -> Any:
    """A set; of one value that value."""
    return values[0] if len(values) == 1 else {"set": list(values)}


def match(left: Expression, right: Any, op: str = "==") -> Expression:
    """Go on only where it holds."""
    return {"match": {"op": op, "left": left, "right": right}}


def look_up(key: Expression, map_: str) -> Expression:
    """Go where a verdict map sends this key; go on where it has none."""
    return {"vmap": {"key": key, "data": f"@{map_}"}}


def jump(chain: str) -> Expression:
    """Go through a chain and come back."""
    return {"jump": {"target": chain}}


def goto(chain: str) -> Expression:
    """Go through a chain instead of this one."""
    return {"goto": {"target": chain}}


def remember(key: Expression, set_: str, timeout_s: int, *, is_prolonging: bool = True) -> Expression:
    """Put a key into a set; one that is there already stays so long from now on, if `is_prolonging`."""
    return {
        "set": {
            "op": "update" if is_prolonging else "add",
            "elem": {"elem": {"val": key, "timeout": timeout_s}},
            "set": f"@{set_}",
        }
    }


def forward_to(device: str) -> Expression:
    """Have another interface send it; only where it comes in, in the family netdev."""
    return {"fwd": {"dev": device}}


def exchange(undo: str, documents: str) -> str:
    """What puts `documents` in the place of what `undo` would take back, a document a line, the last in one
    transaction. Sets, and elements, that are in both stay as they are, with whom they remember."""
    if not documents:
        return undo
    *sets, last = ([*json.loads(line)["nftables"]] for line in documents.splitlines())
    added = [command["add"] for commands in (*sets, last) for command in commands if "add" in command]
    old = [each for line in undo.splitlines() for each in json.loads(line)["nftables"]]
    merged = [*filter(None, (_not_again(command, added) for command in old)), *last]
    return "\n".join(json.dumps({"nftables": each}, separators=(",", ":")) for each in (*sets, merged))


def _not_again(command: Expression, added: list[Expression]) -> Expression | None:
    """A command of an undo, without what is added afterwards: that is neither deleted, nor added as something else."""
    ((verb, objects),) = command.items()
    ((kind, what),) = objects.items()
    same = [each[kind] for each in added if kind in each and _name(each[kind]) == _name(what)]
    if kind == "element":
        kept = [element for each in same for element in each["elem"]]
        left = [element for element in what["elem"] if element not in kept]
        return {verb: {kind: what | {"elem": left}}} if left else None
    is_other = kind == "set" or any("hook" in each for each in same)  # an undo knows no more of it than the name
    return None if same and (verb == "delete" or is_other) else command


def _name(what: Expression) -> tuple[Any, ...]:
    return what.get("family"), what.get("table"), what.get("name")


class Document:
    """Commands on the objects of one table of each family, in order."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._commands: list[Expression] = []

    def table(self, family: str) -> None:
        """A table, unless it is there."""
        self._commands.append({"add": {"table": {"family": family, "name": self._table}}})

    def delete_table(self, family: str) -> None:
        """No such table, whether there is one now or not."""
        self.table(family)
        self._commands.append({"delete": {"table": {"family": family, "name": self._table}}})

    def chain(self, family: str, name: str) -> None:
        """An empty chain that others go to."""
        self._add("chain", family, name)
        self._commands.append({"flush": {"chain": self._in(family, name)}})

    def base_chain(
        self, family: str, name: str, hook: str, priority: int, *, kind: str = "filter", device: str = ""
    ) -> None:
        """An empty chain that the kernel goes to; it lets pass what no rule decides on."""
        on = {"dev": device} if device else {}
        self._add("chain", family, name, type=kind, hook=hook, prio=priority, policy="accept", **on)
        self._commands.append({"flush": {"chain": self._in(family, name)}})

    def delete_chain(self, family: str, name: str) -> None:
        """No such chain, whether there is one now or not; nothing may go to it any more."""
        self.chain(family, name)
        self._commands.append({"delete": {"chain": self._in(family, name)}})

    def rule(self, family: str, chain: str, *parts: Expression, comment: str = "") -> None:
        """A rule at the end of a chain."""
        said = {"comment": comment[:128]} if comment else {}
        where = {"family": family, "table": self._table, "chain": chain}
        self._commands.append({"add": {"rule": where | {"expr": list(parts)} | said}})

    def set(self, family: str, name: str, type_: Any, **properties: Any) -> None:
        """A set, unless it is there."""
        self._add("set", family, name, type=type_, **properties)

    def verdicts(self, family: str, name: str, type_: Any, **properties: Any) -> None:
        """A map from keys to verdicts, unless it is there."""
        self._add("map", family, name, type=type_, map="verdict", **properties)

    def delete_set(self, family: str, name: str, type_: Any, **properties: Any) -> None:
        """No such set, whether there is one now or not."""
        self.set(family, name, type_, **properties)
        self._commands.append({"delete": {"set": self._in(family, name)}})

    def elements(self, family: str, name: str, values: Iterable[Any]) -> None:
        """Elements of a set, or (key, verdict) of a map; those that are there already are no error."""
        found = list(values)
        if found:
            self._commands.append({"add": {"element": self._in(family, name) | {"elem": found}}})

    def delete_elements(self, family: str, name: str, values: Iterable[Any]) -> None:
        """No such elements, whether they are there now or not."""
        found = list(values)
        if found:
            self.elements(family, name, found)
            self._commands.append({"delete": {"element": self._in(family, name) | {"elem": found}}})

    def delete(self, family: str, what: str, name: str) -> None:
        """Something that is there: a chain, set or map."""
        self._commands.append({"delete": {what: self._in(family, name)}})

    def text(self) -> str:
        """What `nft --json -f -` is told; empty where there is nothing to do."""
        return json.dumps({"nftables": self._commands}, separators=(",", ":")) if self._commands else ""

    def _add(self, what: str, family: str, name: str, **properties: Any) -> None:
        self._commands.append({"add": {what: self._in(family, name) | properties}})

    def _in(self, family: str, name: str) -> Expression:
        return {"family": family, "table": self._table, "name": name}
