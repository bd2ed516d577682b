"""Names of instances, and maps of their users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid
from cloison.base.ids import LAST_ID, MAX_EXTENTS, Extent, GuestId, HostId, IdMap, check_name, new_id, simple_map


def extent(guest: int, host: int, count: int) -> Extent:
    return Extent(GuestId(guest), HostId(host), count)


def test_an_id_is_twelve_hexadecimal_digits() -> None:
    assert len(new_id()) == 12
    assert int(new_id(), 16) >= 0


def test_no_two_ids_are_alike() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("name", ["web", "Web-1", "1", "a" * 63, "0a", "a--b"])
def test_a_host_name_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-web", "web-", "a" * 64, "web_1", "web.example", "wéb", "a b", "../x", "web\n", "٣"]
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="write 1 to 63 letters, digits and hyphens"):
        check_name(name)


def test_the_refusal_of_a_name_says_what_it_was_for() -> None:
    with pytest.raises(Invalid, match=r'^"a b" is no name for an image;'):
        check_name("a b", what="an image")


def test_an_id_inside_is_another_outside() -> None:
    assert simple_map(100000).to_host(GuestId(33)) == 100033


def test_an_id_outside_the_map_is_nobodys() -> None:
    a_map = IdMap((extent(0, 100000, 1000), extent(2000, 200000, 1)))
    assert a_map.to_host(GuestId(1500)) is None
    assert a_map.to_guest(HostId(99999)) is None


@given(st.integers(min_value=0, max_value=65535))
def test_the_way_out_and_back_ends_where_it_began(guest: int) -> None:
    a_map = IdMap((extent(0, 300000, 1000), extent(1000, 100000, 64536)))
    host = a_map.to_host(GuestId(guest))
    assert host is not None and a_map.to_guest(host) == guest


def test_a_map_is_written_as_the_kernel_reads_it() -> None:
    assert IdMap((extent(0, 1000, 1), extent(1, 100000, 65535))).lines() == "0 1000 1\n1 100000 65535\n"


@pytest.mark.parametrize(
    "numbers", [(0, 100000, 0), (0, 100000, -1), (-1, 0, 1), (0, -1, 1), (0, LAST_ID, 2), (LAST_ID, 0, 2)]
)
def test_an_impossible_extent_cannot_be_made(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(Invalid):
        extent(*numbers)


def test_the_last_id_can_be_mapped() -> None:
    assert simple_map(0, LAST_ID + 1).to_host(GuestId(LAST_ID)) == LAST_ID


@pytest.mark.parametrize(
    "extents",
    [
        (),
        tuple(extent(n, n, 1) for n in range(MAX_EXTENTS + 1)),
        (extent(0, 1000, 10), extent(9, 2000, 1)),
        (extent(10, 1000, 10), extent(0, 1009, 1)),
    ],
)
def test_an_impossible_map_cannot_be_made(extents: tuple[Extent, ...]) -> None:
    with pytest.raises(Invalid):
        IdMap(extents)
