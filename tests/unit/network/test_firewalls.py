"""Chains of others that are in the way, and what would help."""

import json
from typing import Any

import pytest

from cloison.network.firewalls import in_the_way
from cloison.network.network import Network

LAB = Network(name="lab", bridge="lab0", run="", data="", ipv4="10.1.2.1/24")


def chain(
    name: str, hook: str = "", *, family: str = "inet", table: str = "own", policy: str = "drop"
) -> dict[str, Any]:
    base = {"type": "filter", "hook": hook, "prio": 0, "policy": policy} if hook else {}
    return {"chain": {"family": family, "table": table, "name": name, "handle": 1} | base}


def rule(chain: str, *parts: dict[str, Any], family: str = "inet", table: str = "own") -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": chain, "handle": 2, "expr": list(parts)}}


def iif(name: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": name}}


ACCEPT: dict[str, Any] = {"accept": None}


def said(*listed: dict[str, Any], of: Network = LAB) -> list[tuple[str, tuple[str, ...]]]:
    found = in_the_way(json.dumps({"nftables": [{"metainfo": {}}, *listed]}), of)
    return [(each.where, each.remedy) for each in found]


def test_a_policy_of_drop_is_in_the_way() -> None:
    into = "nft insert rule inet own forward"
    assert said(chain("forward", "forward")) == [
        ("inet own forward", (f"{into} iifname lab0 accept", f"{into} oifname lab0 accept"))
    ]


def test_a_last_rule_for_everything_is_in_the_way() -> None:
    last = rule("input", {"counter": {}}, {"reject": {"type": "icmpx"}})
    ((where, (remedy,)),) = said(chain("input", "input", policy="accept"), last)
    assert where == "inet own input" and "udp dport { 53, 67, 547 } accept" in remedy


@pytest.mark.parametrize(
    "others",
    [
        [chain("forward", "forward", policy="accept")],
        [chain("forward", "forward", policy="accept"), rule("forward", iif("eth0"), {"drop": None})],
        [chain("output", "output")],
        [chain("forward", "forward", family="bridge")],
        [chain("forward", "forward", table="cloison")],
        [chain("forward", "forward", table="cloison_01234567")],
        [chain("forward", "forward"), rule("forward", iif("lab0"), ACCEPT)],
        [chain("forward", "forward"), rule("forward", iif({"set": ["lan", "lab0"]}), ACCEPT)],
        [
            chain("FORWARD", "forward"),
            chain("DOCKER-USER"),
            rule("FORWARD", {"jump": {"target": "DOCKER-USER"}}),
            rule("DOCKER-USER", iif("lab0"), ACCEPT),
        ],
    ],
)
def test_these_are_not_in_the_way(others: list[dict[str, Any]]) -> None:
    assert said(*others) == []


def test_an_exception_elsewhere_is_none() -> None:
    assert len(said(chain("input", "input"), chain("forward", "forward"), rule("forward", iif("lab0"), ACCEPT))) == 1


@pytest.mark.parametrize(
    ("listed", "remedy"),
    [
        ([chain("FORWARD", "forward", family="ip", table="filter")], "iptables -I FORWARD -i lab0 -j ACCEPT"),
        ([chain("FORWARD", "forward", family="ip6", table="filter")], "ip6tables -I FORWARD -i lab0 -j ACCEPT"),
        (
            [
                chain("INPUT", "input", family="ip", table="filter"),
                chain("ufw-user-input", family="ip", table="filter"),
            ],
            "ufw allow in on lab0",
        ),
        (
            [chain("filter_FORWARD", "forward", table="firewalld")],
            "firewall-cmd --permanent --zone=trusted --add-interface=lab0",
        ),
    ],
)
def test_the_remedy_is_in_the_words_of_whose_firewall_it_is(listed: list[dict[str, Any]], remedy: str) -> None:
    ((_where, commands),) = said(*listed)
    assert commands[0] == remedy


def test_an_internal_network_forwards_nothing_that_could_be_dropped() -> None:
    internal = Network(name="lab", bridge="lab0", run="", data="", is_internal=True)
    assert said(chain("forward", "forward"), of=internal) == []
