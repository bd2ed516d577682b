"""What dnsmasq and nft(8) write, as values."""

from cloison.network.report import CountedRule, Lease, counted_rules, leases

LEASES = """\
1767323045 02:c1:05:01:02:03 10.9.0.2 web 01:02:c1:05:01:02:03
0 02:c1:05:01:02:04 10.9.0.3 * *
17673
duid 00:01:00:01:2a:3b:4c:5d:02:c1:05:00:00:01
1767323046 84213 fd00:9::2 web 00:01:00:01:2a
"""
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


def test_leases_of_both_families_are_read_and_half_a_line_is_passed_over() -> None:
    assert list(leases(LEASES)) == [
        Lease("10.9.0.2", "02:c1:05:01:02:03", "web", 1767323045),
        Lease("10.9.0.3", "02:c1:05:01:02:04", "", 0),
        Lease("fd00:9::2", "", "web", 1767323046),
    ]


def test_rules_are_read_with_their_chain_and_what_they_have_counted() -> None:
    assert list(counted_rules(TABLE)) == [
        CountedRule("from_lan", 'ip saddr 10.9.0.9 drop comment "deny out from 10.9.0.9"', 3, 252),
        CountedRule("from_lan", 'oifname != "lan" accept', None, None),
        CountedRule("forward", "ct state established,related accept", None, None),
    ]


def test_of_nothing_there_is_nothing() -> None:
    assert (list(leases("")), list(counted_rules(""))) == ([], [])
