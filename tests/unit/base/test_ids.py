"""Names and ids of instances."""

import pytest

from cloison.base.errors import Invalid
from cloison.base.ids import check_name, new_id


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
