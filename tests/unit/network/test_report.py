"""What nft(8) writes, as values."""

from cloison.network.report import CountedRule, counted_rules

TABLE = """\
table inet cloison {
\tset bridges {
\t\ttype ifname
\t\telements = { "lan" }
\t}

\tchain from_lan {
\t\tip saddr 10.9.0.9 counter packets 3 bytes 252 drop comment "deny out from 10.9.0.9"
\t\toifname != "lan" accept
\t}

\tchain forward {
\t\ttype filter hook forward priority filter; policy accept;
\t\tct state established,related accept
\t}
}
"""


def test_rules_are_read_with_their_chain_and_what_they_have_counted() -> None:
    assert list(counted_rules(TABLE)) == [
        CountedRule("from_lan", 'ip saddr 10.9.0.9 drop comment "deny out from 10.9.0.9"', 3, 252),
        CountedRule("from_lan", 'oifname != "lan" accept', None, None),
        CountedRule("forward", "ct state established,related accept", None, None),
    ]


def test_of_nothing_there_is_nothing() -> None:
    assert list(counted_rules("")) == []
