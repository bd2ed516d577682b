"""What puts packet rules in the place of others, at once, and what it leaves alone."""

import json
from typing import Any

import msgspec

from cloison.network import nft
from cloison.network import nic as packets
from cloison.network.network import Rule
from cloison.network.nic import Nic, Port

WEB = Nic(
    table="cloison",
    host_name="v1n0",
    mac="02:c1:05:00:00:01",
    addresses=("10.9.0.5/24",),
    rules=(Rule("deny", "in", "tcp", ((80, 80),)),),
    is_ruled=True,
    ports=(Port("tcp", 8080, 8080, 80), Port("tcp", 8081, 8081, 81)),
)


def commands(text: str) -> list[list[dict[str, Any]]]:
    return [json.loads(line)["nftables"] for line in text.splitlines()]


def changed(before: Nic, after: Nic) -> list[list[dict[str, Any]]]:
    return commands(nft.exchange(packets.remove(before), packets.document(after)))


def named(found: list[dict[str, Any]], verb: str, kind: str) -> list[Any]:
    return [each[verb][kind] for each in found if verb in each and kind in each[verb]]


def with_(**changes: Any) -> Nic:
    return msgspec.structs.replace(WEB, **changes)


def test_one_transaction_takes_the_old_rules_and_gives_the_new() -> None:
    _sets, last = changed(WEB, with_(rules=(Rule("deny", "in", "tcp", ((81, 81),), text="mine"),)))
    flushed = {each["name"] for each in named(last, "flush", "chain")}
    assert {"in_v1n0", "out_v1n0", "pass_v1n0"} <= flushed
    (rule,) = [each for each in named(last, "add", "rule") if each.get("comment") == "mine"]
    assert (rule["chain"], rule["expr"][1]["match"]["right"]) == ("in_v1n0", 81)


def test_who_has_been_allowed_is_remembered() -> None:
    for document in changed(WEB, with_(rules=(Rule("allow", "in"),))):
        assert named(document, "delete", "set") == []
    (gone,) = changed(WEB, with_(rules=(), is_ruled=False))
    assert {each["name"] for each in named(gone, "delete", "set")} == {"flows4_v1n0", "flows6_v1n0"}


def test_a_port_that_stays_is_not_taken_away_for_a_moment() -> None:
    _sets, last = changed(WEB, with_(ports=WEB.ports[:1]))
    assert [each["elem"][0][0]["concat"][1] for each in named(last, "delete", "element")] == [8081]
    (gone,) = commands(nft.exchange(packets.remove(WEB), ""))
    assert [pair[0]["concat"][1] for each in named(gone, "delete", "element") for pair in each["elem"]] == [8080, 8081]


def test_rules_about_nobody_are_taken_back_as_those_about_somebody() -> None:
    nobody = with_(rules=(), ports=())
    assert packets.document(nobody) == ""
    assert packets.remove(nobody) == packets.remove(with_(ports=()))


def test_what_an_undo_takes_for_a_plain_chain_is_not_made_one_before_it_is_hooked() -> None:
    """Where it was not there, both in one transaction would be refused."""
    _sets, last = changed(WEB, WEB)
    assert [each["hook"] for each in named(last, "add", "chain") if each["name"] in ("in_v1n0", "out_v1n0")] == [
        "ingress",
        "egress",
    ]
