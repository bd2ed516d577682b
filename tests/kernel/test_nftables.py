"""Handles of tables and chains of packet rules, with nft(8) as the witness."""

import json
import sys

import pytest

from tests.kernel.namespaces import new_namespace

pytestmark = [pytest.mark.needs_root]
SCRIPT = """
import json
from cloison.kernel.nftables import Chain, handles, table_handle
print(json.dumps([*handles(Chain("ip", "one", "own"), Chain("inet", "two"), Chain("ip6", "one", "own")),
    table_handle("ip", "one"), table_handle("ip", "nobody")]))
"""


def test_tables_and_chains_are_asked_for_in_one_conversation() -> None:
    with new_namespace() as namespace:
        namespace.run("nft", "add table inet zero; add table ip one; add chain ip one other; add chain ip one own;")
        namespace.run("nft", "add table inet two")
        listed = namespace.json("nft", "--json", "--handle", "list", "ruleset")["nftables"]
        known = {
            (kind, each["name"]): each["handle"]
            for entry in listed
            for kind, each in entry.items()
            if kind != "metainfo"
        }
        said = json.loads(namespace.run(sys.executable, "-c", SCRIPT))
    assert said == [known["chain", "own"], known["table", "two"], None, known["table", "one"], None]
