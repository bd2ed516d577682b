"""Sizes, CPU counts and durations, as people write them and as they are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base import units
from cloison.base.errors import Invalid

K, M, G, T = 1 << 10, 1 << 20, 1 << 30, 1 << 40


def size(text: str, total_bytes: int | None = None) -> int:
    return units.parse_size(text, key="limits.memory", total_bytes=total_bytes)


def cpus(text: str) -> int:
    return units.parse_cpus(text, key="limits.cpu")


def duration(text: str) -> float:
    return units.parse_duration(text, key="boot.timeout")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("256M", 256 * M),
        ("256m", 256 * M),
        ("256Mi", 256 * M),
        ("256MiB", 256 * M),
        ("1.5G", G + 512 * M),
        ("0.1T", T // 10),
        ("2k", 2 * K),
        ("1P", 1024 * T),
    ],
)
def test_a_size_is_read(text: str, size_bytes: int) -> None:
    assert size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "12X",
        "12 M",
        "-1",
        "+1",
        "1e3",
        "1.5",
        "1.M",
        ".5G",
        "1..5G",
        "256MB",
        "M256",
        "٣M",
        "0x10",
        "1K1K",
        "%",
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        size(text, 100)


def test_the_refusal_names_the_key_the_value_and_what_is_allowed() -> None:
    with pytest.raises(Invalid) as refusal:
        size("12X")
    assert str(refusal.value) == ('limits.memory=12X: "12X" is no size; write a number with K, M, G or T, such as 256M')
    assert refusal.value.facts == {"key": "limits.memory", "value": "12X"}


def test_a_size_beyond_what_the_kernel_counts_is_refused() -> None:
    with pytest.raises(Invalid, match="more than the kernel can count"):
        size("9000000P")


def test_a_very_long_number_is_refused_without_much_ado() -> None:
    with pytest.raises(Invalid):
        size("9" * 5000)


def test_a_percentage_is_a_part_of_the_whole() -> None:
    assert size("12.5%", 8 * G) == G


def test_a_percentage_of_nothing_known_is_refused() -> None:
    with pytest.raises(Invalid, match="a percentage has no meaning here"):
        size("50%")


def test_more_than_the_whole_is_refused() -> None:
    with pytest.raises(Invalid, match="at most 100%"):
        size("101%", 8 * G)


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_an_exact_size_reads_back_as_itself(size_bytes: int) -> None:
    assert size(units.exact_size(size_bytes)) == size_bytes


@given(st.integers(min_value=0, max_value=(1 << 60) - 1))
def test_a_size_for_people_is_right_to_a_twentieth(size_bytes: int) -> None:
    shown = size(units.format_size(size_bytes))
    assert abs(shown - size_bytes) <= size_bytes / 20


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_refusal(text: str) -> None:
    try:
        assert size(text, G) >= 0
    except Invalid as refusal:
        assert refusal.sentence.startswith(f"limits.memory={text}: ")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0"), (812, "812"), (K, "1K"), (1536, "1.5K"), (256 * M, "256M"), (1023 * K, "1023K"), (3 * T // 2, "1.5T")],
)
def test_a_size_is_shown_shortly(size_bytes: int, text: str) -> None:
    assert units.format_size(size_bytes) == text


@pytest.mark.parametrize(("text", "milli"), [("1", 1000), ("1.5", 1500), ("0.25", 250), ("0.01", 10), ("64", 64000)])
def test_a_number_of_cpus_is_read_and_shown(text: str, milli: int) -> None:
    assert cpus(text) == milli
    assert units.format_cpus(milli) == text


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5.1", "1,5", "0-3", "50%", "0", "0.009", "9999999"])
def test_what_is_no_number_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^limits\.cpu="):
        cpus(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("10", 10),
        ("2.5", 2.5),
        ("0s", 0),
    ],
)
def test_a_duration_is_read(text: str, duration_s: float) -> None:
    assert duration(text) == duration_s


@pytest.mark.parametrize("text", ["", "s", "5 m", "-1s", "5x", "5M", "1h30", "m5", "1hm", "9999999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^boot\.timeout="):
        duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_shown_duration_reads_back_as_itself(duration_ms: int) -> None:
    assert duration(units.format_duration(duration_ms / 1000)) == duration_ms / 1000
