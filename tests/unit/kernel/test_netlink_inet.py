"""Internet addresses as text and bytes, with the standard library as the witness."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid
from cloison.kernel.netlink import inet


@given(st.ip_addresses())
def test_an_address_survives_the_way_there_and_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert inet.packed(inet.text(address.packed)) == address.packed


@given(st.ip_addresses())
def test_every_spelling_is_understood(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for spelling in (address.compressed, address.exploded, address.exploded.upper()):
        assert inet.packed(spelling) == address.packed


@given(st.lists(st.sampled_from([b"\0\0", b"\0\1", b"\xfd\0"]), min_size=8, max_size=8).map(b"".join))
def test_zeros_are_shortened_as_the_standard_library_does(raw: bytes) -> None:
    assert inet.text(raw) == str(ipaddress.IPv6Address(raw))


def test_a_mapped_address_shows_its_dots() -> None:
    raw = socket.inet_pton(socket.AF_INET6, "::ffff:10.0.0.2")
    assert inet.text(raw) == socket.inet_ntop(socket.AF_INET6, raw) == "::ffff:10.0.0.2"


@given(st.text(st.sampled_from("0123456789abcdefg:./% "), max_size=24))
def test_what_inet_pton_refuses_is_refused(text: str) -> None:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        expected = socket.inet_pton(family, text)
    except OSError:
        with pytest.raises(Invalid):
            inet.packed(text)
    else:
        assert inet.packed(text) == expected


@pytest.mark.parametrize("text", ["::1::2", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "10.0.0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not an internet address"):
        inet.packed(text)


def test_a_prefix_length_is_all_of_it_where_there_is_none() -> None:
    assert inet.split("10.0.0.2/24") == (bytes([10, 0, 0, 2]), 24)
    assert inet.split("10.0.0.2") == (bytes([10, 0, 0, 2]), 32)
    assert inet.split("::/0") == (bytes(16), 0)


@pytest.mark.parametrize("text", ["10.0.0.2/33", "10.0.0.2/", "10.0.0.2/-1", "10.0.0.2/024", "fd00::/129", "fd00::/a"])
def test_a_prefix_length_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="prefix length"):
        inet.split(text)


@given(st.ip_addresses(v=4), st.integers(0, 30))
def test_the_broadcast_address_is_the_last_one(address: ipaddress.IPv4Address, prefix: int) -> None:
    network = ipaddress.ip_network((address, prefix), strict=False)
    assert inet.broadcast(address.packed, prefix) == network.broadcast_address.packed


def test_a_subnet_of_two_addresses_has_no_broadcast() -> None:
    assert inet.broadcast(bytes(4), 31) == inet.broadcast(bytes(4), 32) == b""
