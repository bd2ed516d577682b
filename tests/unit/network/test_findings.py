import msgspec
import pytest

from cloison.network.findings import Survey, findings
from cloison.network.firewalls import Foreign
from cloison.spec.finding import Finding

FORWARD = Foreign("inet", "filter", "forward", "forward", ("nft insert rule a", "nft insert rule b"))
INPUT = Foreign("inet", "filter", "input", "input", ("nft insert rule c",))
FINE = Survey(uplinks=("eth0",), can_forward=True, fwd="")


def found(survey: Survey) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings(survey)}


def test_on_a_usual_host_all_is_well() -> None:
    assert {finding.status for finding in findings(FINE)} == {"ok"}
    assert found(FINE)["way outside"].detail == "by eth0"


@pytest.mark.parametrize(
    ("change", "name", "status", "word"),
    [
        ({"uplinks": ()}, "way outside", "limited", "no default route"),
        ({"can_forward": False}, "forwarding", "missing", "cannot be written"),
        ({"dns": "named (process 812)"}, "port 53", "missing", "named (process 812)"),
        ({"foreign": (("lan", FORWARD),)}, "network lan", "limited", "inet filter forward drops what is forwarded"),
        ({"foreign": (("lan", INPUT),)}, "network lan", "limited", "names and leases"),
        ({"fwd": "Error: Could not process rule"}, "nft fwd", "missing", "Error: Could not process rule"),
        ({"silent": ("lan",)}, "network lan", "limited", "its dnsmasq has died"),
    ],
)
def test_what_is_in_the_way_is_named_with_what_would_help(
    change: dict[str, object], name: str, status: str, word: str
) -> None:
    changed = found(msgspec.structs.replace(FINE, **change))
    assert (changed[name].status, word in changed[name].detail, bool(changed[name].hint)) == (status, True, True)
    assert [other.status for other in changed.values() if other.name != name] == ["ok"] * (len(changed) - 1)


def test_where_nobody_can_ask_nothing_is_said_of_fwd() -> None:
    assert "nft fwd" not in found(msgspec.structs.replace(FINE, fwd=None))


def test_all_that_would_help_against_a_firewall_is_on_one_line() -> None:
    [finding] = [each for each in findings(msgspec.structs.replace(FINE, foreign=(("lan", FORWARD),))) if each.hint]
    assert finding.hint == "nft insert rule a; nft insert rule b"
