"""Whole rule sets in the language of nft(8), compared with golden files; the kernel is asked elsewhere whether it makes
the same of both languages (tests/kernel/test_nft_text.py)."""

from collections.abc import Callable
from typing import Any

import pytest

from cloison.network import nic as packets
from cloison.network import table
from cloison.network.network import Network, Rule
from cloison.network.nic import Nic, Port
from cloison.plan.nft_text import commands

Golden = Callable[[str], object]
RULES = (
    Rule(
        "allow",
        "in",
        "tcp",
        ((80, 80), (8000, 8010)),
        ("10.1.0.0/16", "10.2.0.1", "fd01::/64"),
        text="allow in tcp 80,8000-8010 from lan",
    ),
    Rule("deny", "out", "any", ((25, 25),), destinations=("0.0.0.0/0",), text="deny out any 25 to 0.0.0.0/0"),
    Rule("deny", "in", "icmp", text="deny in icmp"),
    Rule("deny", "in", text="deny in"),
)
PORTS = (
    Port("tcp", 8080, 8080, 80),
    Port("udp", 8000, 8003, 9000),
    Port("udp", 53, 53, 53, "2001:db8::1"),
    Port("tcp", 443, 443, 443, "192.0.2.1"),
)


def lan(**options: Any) -> Network:
    given: dict[str, Any] = {"name": "lan", "bridge": "lan", "run": "/r/lan", "data": "/d/lan"}
    return Network(**given | {"ipv4": "10.9.0.1/24", "ipv6": "fd00:9::1/64"} | options)


def nic(**options: Any) -> Nic:
    given: dict[str, Any] = {"table": "cloison", "host_name": "v1a2b3c4dn0", "mac": "02:c1:05:00:00:01"}
    return Nic(**given | {"addresses": ("10.9.0.5/24", "fd00:9::5/64"), "prefix6": "fd00:9::1/64"} | options)


DOCUMENTS = {
    "nft-installation": table.installation("cloison").text(),
    "nft-network-nat": table.network(lan()).text(),
    "nft-network-without-nat": table.network(lan(is_nat=False, ipv6="")).text(),
    "nft-network-internal": table.network(lan(is_internal=True)).text(),
    "nft-network-isolated": table.network(lan(is_isolated=True)).text(),
    "nft-network-rules": table.network(lan(rules=RULES)).text(),
    "nft-nic-routed": packets.document(nic(member_of="lan")),
    "nft-nic-routed-gone": packets.remove(nic(member_of="lan")),
    "nft-network-gone": table.remove_network(lan(rules=RULES)).text(),
    "nft-nic-ports": packets.document(nic(ports=PORTS)),
    "nft-nic-filters": packets.document(nic(is_mac_filtered=True, is_ip_filtered=True)),
    "nft-nic-rules": packets.document(nic(rules=RULES)),
    "nft-nic-rate": packets.document(nic(egress_bps=1_000_000)),
    "nft-nic-gone": packets.remove(nic(rules=RULES, ports=PORTS, egress_bps=1_000_000)),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_rule_set_in_words(golden: Golden, name: str) -> None:
    assert "\n".join(commands(DOCUMENTS[name])) + "\n" == golden(name)
