"""What a plan shows of packet rules is what is done: the kernel makes the same of the JSON and of the words."""

import subprocess
from pathlib import Path

import pytest

from cloison.plan.nft_text import commands
from tests.unit.network.test_rule_sets import DOCUMENTS

pytestmark = [pytest.mark.needs_root]
_LINKS = "ip link add v1a2b3c4dn0 type veth peer name other && ip link add q1a2b3c4dn0 type ifb"


def listed(directory: Path, option: str, texts: list[str]) -> list[str]:
    """The rule sets behind each text, when all are carried out one after the other in a namespace of their own."""
    directory.mkdir()
    for number, text in enumerate(texts):
        (directory / f"{number:02}").write_text(text + "\n")
    script = f"set -e; {_LINKS}; for file in {directory}/*; do nft {option} -f $file; nft list ruleset; echo ---; done"
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("---\n")


def test_words_and_json_are_the_same_rules(tmp_path: Path) -> None:
    documents = [line for document in DOCUMENTS.values() for line in document.splitlines()]
    told = listed(tmp_path / "json", "--json", documents)
    assert told == listed(tmp_path / "text", "", ["\n".join(commands(each)) for each in documents])
    assert sum("deny in icmp" in each for each in told) >= 2
