"""What dnsmasq writes of leases, as values, and how they are given back."""

from cloison.network.leases import Lease, leases, release4, release6

LEASES = """\
1767323045 02:c1:05:01:02:03 10.9.0.2 web 01:02:c1:05:01:02:03
0 02:c1:05:01:02:04 10.9.0.3 * *
17673
duid 00:01:00:01:2a:3b:4c:5d:02:c1:05:00:00:01
1767323046 84213 fd00:9::2 web 00:01:00:01:2a
"""


def test_leases_of_both_families_are_read_and_half_a_line_is_passed_over() -> None:
    assert list(leases(LEASES)) == [
        Lease("10.9.0.2", "02:c1:05:01:02:03", "web", 1767323045, bytes.fromhex("0102c105010203")),
        Lease("10.9.0.3", "02:c1:05:01:02:04", "", 0),
        Lease("fd00:9::2", "", "web", 1767323046, bytes.fromhex("000100012a"), 84213),
    ]
    assert list(leases("")) == []


def test_a_release_of_ipv4_is_what_rfc_2131_says() -> None:
    said = release4(Lease("10.9.0.2", "02:c1:05:01:02:03", "web", 0, b"\x01me"), "10.9.0.1")
    assert said[:12] == bytes.fromhex("01010600 00000001 00000000")
    assert said[12:28] == bytes.fromhex("0a090002 00000000 00000000 00000000")
    assert said[28:236] == bytes.fromhex("02c105010203") + bytes(202)
    assert said[236:] == bytes.fromhex("63825363 350107 36040a090001 3d03016d65 ff")
    without = release4(Lease("10.9.0.2", "02:c1:05:01:02:03", "web", 0), "10.9.0.1")
    assert without[236:] == bytes.fromhex("63825363 350107 36040a090001 ff")


def test_a_release_of_ipv6_is_what_rfc_8415_says() -> None:
    said = release6(Lease("fd00:9::2", "", "web", 0, b"\0\1me", 7), b"\0\1you")
    assert said[:4] == bytes.fromhex("08000001")
    assert said[4:21] == bytes.fromhex("0001 0004 00016d65  0002 0005 0001796f75")
    assert said[21:27] == bytes.fromhex("0008 0002 0000")
    assert said[27:43] == bytes.fromhex("0003 0028 00000007 00000000 00000000")
    assert said[43:] == bytes.fromhex("0005 0018 fd000009000000000000000000000002 00000000 00000000")
