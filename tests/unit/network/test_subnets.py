"""Which subnet a new network gets, and who is in the way of one that was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Conflict
from cloison.network import subnets
from cloison.network.network import overlap

CIDR4 = st.builds(
    lambda a, b, length: f"10.{a}.{b}.0/{length}", st.integers(0, 255), st.integers(0, 255), st.integers(14, 32)
)


@given(st.lists(CIDR4, max_size=20), st.integers(0, 1 << 40))
def test_a_free_subnet_meets_none_that_is_taken(taken: list[str], seed: int) -> None:
    found = subnets.free_ipv4(taken, seed)
    assert found.startswith("10.") and found.endswith(".1/24")
    assert not any(overlap(found, other) for other in taken)


@given(st.integers(0, 1 << 41))
def test_ipv6_is_a_unique_local_64(seed: int) -> None:
    found = subnets.free_ipv6([], seed)
    assert found.startswith("fd") and found.endswith("::1/64")
    assert not overlap(found, subnets.free_ipv6([found], seed))


def test_a_default_route_takes_nothing() -> None:
    assert subnets.free_ipv4(["0.0.0.0/0"], 5) == "10.0.5.1/24"
    assert subnets.free_ipv6(["::/0"], 1) == "fd00:0:1::1/64"


def test_no_subnet_is_left() -> None:
    with pytest.raises(Conflict, match=r"10\.0\.0\.0/8 is taken"):
        subnets.free_ipv4(["10.0.0.0/8"], 0)


@pytest.mark.parametrize(
    ("cidr", "said"),
    [
        ("192.0.2.1/25", "an address of eth0 (192.0.2.2/24)"),
        ("192.0.0.1/16", "an address of eth0 (192.0.2.2/24)"),
        ("192.0.3.1/24", ""),
        ("fd00::1/64", "network lab (fd00::/48)"),
        ("0.0.0.1/32", ""),
    ],
)
def test_a_collision_is_told_with_whom(cidr: str, said: str) -> None:
    taken = [("0.0.0.0/0", "the default route"), ("192.0.2.2/24", "an address of eth0"), ("fd00::/48", "network lab")]
    assert subnets.collision(cidr, taken) == said
