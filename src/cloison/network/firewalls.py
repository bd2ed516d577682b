"""Other people's packet rules, where they drop what ours let pass, and what would help.

A packet has to pass every table: no rule of ours lifts a drop of somebody else's. Docker drops what it does not know,
and leaves a chain to everybody for exceptions, DOCKER-USER: cloison puts two rules for each bridge there, with a
comment that says whose they are. Nothing else of others is ever touched, only explained.
"""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cloison.kernel import inventory, nftables, process, programs
from cloison.network.network import RULES, Network, alias_of

_DOCKER_USER = "DOCKER-USER"
_PROGRAMS = (("iptables", "ip"), ("ip6tables", "ip6"))
DOCKER = tuple(nftables.Chain(family, "filter", _DOCKER_USER) for _program, family in _PROGRAMS)
_ENDS = ("-i", "-o")
_SERVED = "udp dport { 53, 67, 547 }"


class Foreign(msgspec.Struct, frozen=True):
    """A chain of somebody else's that drops what it has no rule for: `hook` is forward or input.

    `remedy` are the commands that would help, in words for a shell."""

    family: str
    table: str
    chain: str
    hook: str
    remedy: tuple[str, ...]

    @property
    def where(self) -> str:
        """Which one it is, as nft names it."""
        return f"{self.family} {self.table} {self.chain}"


def look(of: Network) -> tuple[Foreign, ...]:
    """The chains that are in the way of a network. Runs nft: 10 ms and more. Empty where there is no nft."""
    nft = programs.which("nft")
    if not nft or not of.is_own:
        return ()
    done = process.run([nft, "--json", "list", "ruleset"], timeout_s=30.0)
    return in_the_way(done.stdout.decode(errors="replace"), of) if done.code == 0 else ()


def in_the_way(ruleset: str, of: Network) -> tuple[Foreign, ...]:
    """The chains in the way of a network, from what `nft --json list ruleset` says. Pure."""
    listed: list[dict[str, Any]] = json.loads(ruleset)["nftables"]
    chains = [each["chain"] for each in listed if "chain" in each]
    rules = [each["rule"] for each in listed if "rule" in each]
    found = []
    for chain in chains:
        if not _is_foreign(chain) or (chain["hook"] == "forward" and of.is_internal):
            continue
        own = [rule for rule in rules if _key(rule) == (chain["family"], chain["table"], chain["name"])]
        if not _drops(chain, own) or _lets_pass(of, chain, rules):
            continue
        remedy = _remedy(of, chain, [each["name"] for each in chains])
        found.append(Foreign(chain["family"], chain["table"], chain["name"], chain["hook"], remedy))
    return tuple(found)


def _is_foreign(chain: dict[str, Any]) -> bool:
    table = str(chain["table"])
    is_ours = table == RULES or re.fullmatch(f"{RULES}_[0-9a-f]{{8}}", table) is not None
    hooks = ("forward", "input")
    is_inet = chain["family"] in ("inet", "ip", "ip6")
    return not is_ours and is_inet and chain.get("hook") in hooks and chain.get("type") == "filter"


def _drops(chain: dict[str, Any], own: list[dict[str, Any]]) -> bool:
    """By its policy, or by a last rule for everything."""
    if chain.get("policy") == "drop":
        return True
    last = own[-1]["expr"] if own else []
    return any("drop" in part or "reject" in part for part in last) and not any("match" in part for part in last)


def _lets_pass(of: Network, chain: dict[str, Any], rules: list[dict[str, Any]]) -> bool:
    """Whether there is an exception for the bridge already: in the chain, or in one that it goes to, as Docker's."""
    beside = [rule for rule in rules if (rule["family"], rule["table"]) == (chain["family"], chain["table"])]
    reached = _reached(chain["name"], beside)
    for rule in beside:
        is_beside = rule["chain"] in reached
        is_accepting = any("accept" in part for part in rule["expr"])
        named = [part["match"]["right"] for part in rule["expr"] if _names_device(part, "iifname")]
        if is_beside and is_accepting and any(_is_in(of.bridge, value) for value in named):
            return True
    return False


def _reached(name: str, rules: list[dict[str, Any]]) -> set[str]:
    """The chains that a packet in this one may come to."""
    found, new = {name}, {name}
    while new:
        jumps = [part for rule in rules if rule["chain"] in new for part in rule["expr"]]
        targets = {part[word]["target"] for part in jumps for word in ("jump", "goto") if word in part}
        new = targets - found
        found |= new
    return found


def _names_device(part: dict[str, Any], key: str) -> bool:
    is_positive = "match" in part and part["match"].get("op") in ("==", "in")
    return is_positive and part["match"]["left"] == {"meta": {"key": key}}


def _is_in(name: str, value: Any) -> bool:
    if isinstance(value, dict):
        return name in value.get("set", [])
    return bool(value == name)


def _remedy(of: Network, chain: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    is_forward = chain["hook"] == "forward"
    if chain["table"] == "firewalld":
        return (f"firewall-cmd --permanent --zone=trusted --add-interface={of.bridge}", "firewall-cmd --reload")
    if any(name.startswith("ufw-") for name in names) and chain["table"] == "filter":
        if is_forward:
            return (f"ufw route allow in on {of.bridge}", f"ufw route allow out on {of.bridge}")
        return (f"ufw allow in on {of.bridge}",)
    if chain["table"] == "filter" and chain["name"] in ("FORWARD", "INPUT"):
        program = "ip6tables" if chain["family"] == "ip6" else "iptables"
        ends = _ENDS if is_forward else _ENDS[:1]
        return tuple(f"{program} -I {chain['name']} {end} {of.bridge} -j ACCEPT" for end in ends)
    into = f"nft insert rule {chain['family']} {chain['table']} {chain['name']}"
    if is_forward:
        return tuple(f"{into} {key} {of.bridge} accept" for key in ("iifname", "oifname"))
    return (f"{into} iifname {of.bridge} {_SERVED} accept",)


def _key(rule: dict[str, Any]) -> tuple[str, str, str]:
    return rule["family"], rule["table"], rule["chain"]


# --- Docker ----------------------------------------------------------------------------------------------------------


def docker_chain(found: Sequence[int | None] = ()) -> int:
    """Something that changes when Docker's chain for exceptions comes, goes, or is made anew; cheap to ask. `found` are
    the handles of DOCKER, where somebody has asked for them already."""
    handles = [handle or 0 for handle in found or nftables.handles(*DOCKER)]
    if not any(handles):
        return 0
    tables = [handle or 0 for handle in nftables.handles(*(nftables.Chain(each.family, each.table) for each in DOCKER))]
    return zlib.crc32(repr((handles, tables)).encode())


def exceptions(of: Network) -> tuple[tuple[str, ...], ...]:
    """The commands that are missing for Docker to let a network's packets pass; none where there is no Docker."""
    return tuple((path, "-w", "-I", _DOCKER_USER, *rule) for path, rule, is_there in _docker_rules(of) if not is_there)


def no_exceptions(of: Network) -> tuple[tuple[str, ...], ...]:
    """The commands that take `exceptions` back, as far as they are there."""
    return tuple((path, "-w", "-D", _DOCKER_USER, *rule) for path, rule, is_there in _docker_rules(of) if is_there)


def _docker_rules(of: Network) -> list[tuple[str, tuple[str, ...], bool]]:
    found: list[tuple[str, tuple[str, ...], bool]] = []
    for path, lines in _docker_listed():
        for end in _ENDS:
            rule = (end, of.bridge, "-m", "comment", "--comment", alias_of(of), "-j", "ACCEPT")
            is_there = any(f"{end} {of.bridge} " in line and f'"{alias_of(of)}"' in line for line in lines)
            found.append((path, rule, is_there))
    return found


def docker_lines() -> tuple[tuple[str, str], ...]:
    """Every rule in Docker's chain for exceptions as iptables writes it (`-A DOCKER-USER -i cloison0 ...`), with the
    program that has said so."""
    return tuple((path, line) for path, lines in _docker_listed() for line in lines if line.startswith("-A "))


def _docker_listed() -> Iterator[tuple[str, list[str]]]:
    for program, _family in _PROGRAMS:
        path = programs.which(program)
        if path is None or not _may_have_docker():
            continue
        listed = process.run([path, "-w", "-S", _DOCKER_USER], timeout_s=30.0)
        if not listed.code:
            yield path, listed.stdout.decode(errors="replace").splitlines()


def _may_have_docker() -> bool:
    """Whether it is worth a question: the chain is there, or rules of the older kind, which cannot be seen."""
    return docker_chain() != 0 or bool(inventory.setting("/proc/net/ip_tables_names"))
