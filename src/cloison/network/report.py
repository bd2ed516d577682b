"""What is going on in a network: its leases, its packet rules with what they have counted, its traffic,
and what is in its way."""

import re
from collections.abc import Iterator

import msgspec

from cloison.kernel import process
from cloison.network import firewalls, host, table, upkeep
from cloison.network.firewalls import Foreign
from cloison.network.network import Network

_COUNTED = re.compile(r" ?counter packets (\d+) bytes (\d+)", re.ASCII)
_CHAIN = re.compile(r"\tchain (\S+) \{", re.ASCII)
_TIMEOUT_S = 10.0


class Lease(msgspec.Struct, frozen=True):
    """An address that a client has been given by DHCP, until `expires_s` since 1970 (0: for ever). The name is the
    client's own, "" for none; nor does IPv6 tell a MAC address."""

    address: str
    mac: str
    name: str
    expires_s: int


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
        leases=_leases(of),
        rules=_rules(of),
        received_bytes=counters.rx_bytes if counters else None,
        sent_bytes=counters.tx_bytes if counters else None,
        foreign=firewalls.look(of),
    )


def _leases(of: Network) -> tuple[Lease, ...]:
    try:
        with open(f"{of.data}/leases", encoding="utf-8", errors="replace") as file:
            return tuple(leases(file.read()))
    except FileNotFoundError:
        return ()


def leases(text: str) -> Iterator[Lease]:
    """The leases in a file of dnsmasq's: `<expires> <MAC or, below the line "duid", IAID> <address> <name or *> <id>`.

    A line that is not of this form, as one that is just being written, is passed over."""
    is_v6 = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["duid"]:
            is_v6 = True
        elif len(words) == 5 and words[0].isdecimal():
            expires, who, address, name, _client = words
            yield Lease(address, "" if is_v6 else who, "" if name == "*" else name, int(expires))


def _rules(of: Network) -> tuple[CountedRule, ...]:
    nft = process.which(upkeep.NFT[0])
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
