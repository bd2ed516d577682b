"""What the packet rules have counted, by what they are for; and rules whose interface is nobody's any more."""

import json
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from cloison.base.errors import Kernel
from cloison.kernel import process, programs
from cloison.network.nft import Document
from cloison.network.table import INET, NETDEV

_OF_INTERFACES = ("dnat", "out", "rate", "in", "pass", "flows4", "flows6", "leaves", "enters", "asks", "asked")
_OF_NETWORKS = ("from", "to", "host_from", "host_to", "hairpin", "nat", "members")


class Count(msgspec.Struct, frozen=True):
    """One rule: the `chain` it is in, its words (none: one of ours that nobody has written), its packets."""

    chain: str
    text: str
    packets: int
    bytes: int


def listing(table: str) -> str:
    """Both tables of an installation as nft lists them; without elements or rules where they are not there."""
    program = programs.needed("nft", package="nftables")
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


def rated(listed: str) -> tuple[str, ...]:
    """The host's ends of the interfaces whose packets are led through a queue."""
    chains = (each["chain"]["name"] for each in json.loads(listed)["nftables"] if "chain" in each)
    return tuple(name.removeprefix("rate_") for name in chains if name.startswith("rate_"))


def stale(listed: str, table: str, is_end: Callable[[str], bool], is_network: Callable[[str], bool]) -> str:
    """What takes away the rules of everybody who is not known: interfaces are by their host's end, networks by name.
    Empty where there is nothing."""
    into = Document(table)
    names: dict[tuple[str, str], str] = {}
    for each in json.loads(listed)["nftables"]:
        for kind in ("chain", "set", "map"):
            if kind in each and not _is_known(each[kind]["name"], is_end, is_network):
                names[each[kind]["family"], each[kind]["name"]] = kind
    gone = {name for _family, name in names}
    for map_ in (each["map"] for each in json.loads(listed)["nftables"] if "map" in each):
        pairs = [[key, value] for key, value in map_.get("elem", []) if _target(value) in gone]
        into.delete_elements(map_["family"], map_["name"], pairs)
        if map_["name"] == "forward_from":
            interfaces = [key for key, _value in pairs]
            into.delete_elements(INET, "bridges", interfaces)
            _no_members(into, listed, names, interfaces)
    ends = [name.removeprefix("dnat_") for name in sorted(gone) if name.startswith("dnat_")]
    into.delete_elements(INET, "on_loopback", ends)
    for (family, name), kind in names.items():
        if kind == "chain":
            into.chain(family, name)
    for chain in sorted(names, key=lambda key: (names[key] != "chain", key[1].startswith("pass_"))):
        into.delete(chain[0], names[chain], chain[1])
    return into.text()


def _no_members(into: Document, listed: str, gone: dict[tuple[str, str], str], interfaces: Collection[str]) -> None:
    """Take interfaces out of the networks that stay."""
    for each in (each["set"] for each in json.loads(listed)["nftables"] if "set" in each):
        if each["name"].startswith("members_") and (each["family"], each["name"]) not in gone:
            own = [interface for interface in each.get("elem", []) if interface in interfaces]
            into.delete_elements(each["family"], each["name"], own)


def _is_known(name: str, is_end: Callable[[str], bool], is_network: Callable[[str], bool]) -> bool:
    """Also what is of nobody in particular: the chains of the installation."""
    for prefix in _OF_NETWORKS:
        if name.startswith(f"{prefix}_"):
            return is_network(name.removeprefix(f"{prefix}_"))
    prefix, _, end = name.partition("_")
    return prefix not in _OF_INTERFACES or not end or is_end(end)


def _target(verdict: Any) -> str:
    return str(verdict.get("goto", {}).get("target", "")) if isinstance(verdict, dict) else ""
