"""What is going on in a network: its leases, its packet rules with what they have counted, its traffic,
and what is in its way."""

import re
from collections.abc import Iterator

import msgspec

from cloison.kernel import process, programs
from cloison.network import firewalls, host, leases, table, upkeep
from cloison.network.firewalls import Foreign
from cloison.network.leases import Lease
from cloison.network.network import Network
from cloison.network.programs import NFT

_COUNTED = re.compile(r" ?counter packets (\d+) bytes (\d+)", re.ASCII)
_CHAIN = re.compile(r"\tchain (\S+) \{", re.ASCII)
_TIMEOUT_S = 10.0


class CountedRule(msgspec.Struct, frozen=True):
    """A packet rule as nft(8) shows it, and what it has counted; None where it does not count."""

    chain: str
    text: str
    packets: int | None
    bytes: int | None


class Report(msgspec.Struct, frozen=True):
    """All of it. Bytes are those of the bridge: `received_bytes` is what instances have sent to the host and beyond."""

    is_serving: bool
    leases: tuple[Lease, ...]
    rules: tuple[CountedRule, ...]
    received_bytes: int | None
    sent_bytes: int | None
    foreign: tuple[Foreign, ...]


def report(of: Network) -> Report:
    """Look at a network that is up."""
    link = host.interface(of.bridge)
    counters = link.counters if link else None
    return Report(
        is_serving=of.is_served and upkeep.is_serving(of),
        leases=leases.of_network(of),
        rules=_rules(of),
        received_bytes=counters.rx_bytes if counters else None,
        sent_bytes=counters.tx_bytes if counters else None,
        foreign=firewalls.look(of),
    )


def _rules(of: Network) -> tuple[CountedRule, ...]:
    nft = programs.which(NFT[0])
    if not of.is_own or nft is None:
        return ()
    found = process.run([nft, "list", "table", table.INET, of.table], timeout_s=_TIMEOUT_S)
    if found.code:
        return ()  # it has been taken down just now
    chains = table.chains(of)
    return tuple(rule for rule in counted_rules(found.stdout.decode(errors="replace")) if rule.chain in chains)


def counted_rules(text: str) -> Iterator[CountedRule]:
    """The rules in the text of a table, chain by chain."""
    chain = ""
    for line in text.splitlines():
        begun = _CHAIN.fullmatch(line)
        if begun:
            chain = begun[1]
        elif line == "\t}":
            chain = ""
        elif chain and not line.startswith("\t\ttype "):
            counted = _COUNTED.search(line)
            packets, size = (int(counted[1]), int(counted[2])) if counted else (None, None)
            yield CountedRule(chain, _COUNTED.sub("", line).strip(), packets, size)
