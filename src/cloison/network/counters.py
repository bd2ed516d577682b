"""What the packet rules have counted, by what they are for; and rules whose interface is nobody's any more."""

import json
from collections.abc import Container
from typing import Any

import msgspec

from cloison.base.errors import Kernel
from cloison.kernel import process
from cloison.network.nft import Document
from cloison.network.table import INET, NETDEV

_OF_INTERFACES = ("dnat", "out", "rate", "in", "pass", "flows4", "flows6")


class Count(msgspec.Struct, frozen=True):
    """One rule: the `chain` it is in, its words (none: one of ours that nobody has written), its packets."""

    chain: str
    text: str
    packets: int
    bytes: int


def listing(table: str) -> str:
    """Both tables of an installation as nft lists them; without elements or rules where they are not there."""
    program = process.needed("nft", package="nftables")
    found: list[Any] = []
    for family in (INET, NETDEV):
        done = process.run([program, "--json", "list", "table", family, table], timeout_s=30.0)
        if done.code == 0:
            found += json.loads(done.stdout)["nftables"]
        elif b"No such file" not in done.stderr:
            raise Kernel(f"nft cannot list the table {family} {table}: {done.stderr.decode(errors='replace').strip()}")
    return json.dumps({"nftables": found})


def counts(listed: str, of: str) -> tuple[Count, ...]:
    """The rules of one network (its name) or one interface (its host's end) that count, in order."""
    chains = {f"{prefix}_{of}" for prefix in ("from", "to", "host_from", "host_to", "nat", *_OF_INTERFACES)}
    found = []
    for rule in (each["rule"] for each in json.loads(listed)["nftables"] if "rule" in each):
        for part in rule["expr"]:
            if rule["chain"] in chains and isinstance(part.get("counter"), dict):
                counted = part["counter"]
                found.append(Count(rule["chain"], rule.get("comment", ""), counted["packets"], counted["bytes"]))
    return tuple(found)


def stale(listed: str, table: str, known: Container[str]) -> str:
    """What takes away the rules of every interface that is not `known` (by its host's end); empty for none."""
    into = Document(table)
    names: dict[tuple[str, str], str] = {}
    for each in json.loads(listed)["nftables"]:
        for kind in ("chain", "set", "map"):
            if kind in each and (end := _end_of(each[kind]["name"])) and end not in known:
                names[each[kind]["family"], each[kind]["name"]] = kind
    gone = {name for _family, name in names}
    for map_ in (each["map"] for each in json.loads(listed)["nftables"] if "map" in each):
        pairs = [[key, value] for key, value in map_.get("elem", []) if _target(value) in gone]
        into.delete_elements(map_["family"], map_["name"], pairs)
    for (family, name), kind in names.items():
        if kind == "chain":
            into.chain(family, name)
    for chain in sorted(names, key=lambda key: (names[key] != "chain", key[1].startswith("pass_"))):
        into.delete(chain[0], names[chain], chain[1])
    return into.text()


def _end_of(name: str) -> str:
    prefix, _, end = name.partition("_")
    return end if prefix in _OF_INTERFACES else ""


def _target(verdict: Any) -> str:
    return str(verdict.get("goto", {}).get("target", "")) if isinstance(verdict, dict) else ""
