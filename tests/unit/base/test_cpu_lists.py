"""Lists of CPUs as the kernel writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base import cpu_lists


@pytest.mark.parametrize(
    ("text", "numbers"), [("0-1,3", {0, 1, 3}), ("0", {0}), ("", set()), ("7-9\n", {7, 8, 9}), ("2,0", {0, 2})]
)
def test_a_list_is_read(text: str, numbers: set[int]) -> None:
    assert cpu_lists.parse(text) == numbers


@given(st.frozensets(st.integers(0, 40)))
def test_what_is_written_is_read_back(numbers: frozenset[int]) -> None:
    assert cpu_lists.parse(cpu_lists.write(numbers)) == numbers


def test_ranges_are_as_long_as_they_can_be() -> None:
    assert cpu_lists.write(frozenset({0, 1, 2, 4, 6, 7})) == "0-2,4,6-7"
