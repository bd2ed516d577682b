"""Prices are decimal numbers, and so is what they come to."""

from decimal import Decimal

import pytest

from cloison.base.errors import Invalid
from cloison.spec.consumption import Consumption
from cloison.spec.tariff import GIB, PRICES, parse

HEAD = 'currency = "EUR"\n'
EVERYTHING = Consumption(
    cpu_ns=2 * 3_600_000_000_000,
    memory_byte_s=3 * GIB * 3600,
    disk_byte_s=5 * GIB * 3600,
    read_bytes=6 * GIB,
    written_bytes=GIB,
    received_bytes=4 * GIB,
    sent_bytes=7 * GIB,
)


def amount(prices: str, used: Consumption = EVERYTHING, head: str = HEAD) -> Decimal:
    return parse(f"{head}[prices]\n{prices}", where="t.toml").amount(used)


@pytest.mark.parametrize(("name", "units"), tuple(zip(PRICES, (2, 3, 5, 7, 11), strict=True)))
def test_each_price_is_for_one_unit(name: str, units: int) -> None:
    assert amount(f"{name} = 0.1") == units * Decimal("0.1")


def test_prices_add_up() -> None:
    assert amount("cpu_hour = 1\nnetwork_gib = 0.01") == Decimal("2.11")


def test_a_price_is_the_number_that_was_written() -> None:
    assert amount("io_gib = 0.1", Consumption(read_bytes=3 * GIB), HEAD + "digits = 9\n") == Decimal("0.300000000")


def test_an_amount_has_the_digits_that_were_asked_for() -> None:
    assert str(amount("cpu_hour = 0.333", head=HEAD + "digits = 0\n")) == "1"
    assert str(amount("cpu_hour = 1")) == "2.00"


def test_half_a_cent_is_rounded_to_even() -> None:
    for price, rounded in (("0.0025", "0.00"), ("0.0075", "0.02")):
        assert str(amount(f"cpu_hour = {price}")) == rounded


def test_a_third_of_an_hour_is_not_cut_short() -> None:
    third = Consumption(cpu_ns=1_200_000_000_000)
    assert amount("cpu_hour = 0.03", third) == Decimal("0.01")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[prices]\ncpu_hour = 1", "currency is missing"),
        (HEAD, "there is no price"),
        (HEAD + "[prices]", "there is no price"),
        (HEAD + "[prices]\ncpu_hours = 1", "prices.cpu_hours is no key of a tariff; there are cpu_hour,"),
        (HEAD + "prise = 1\n[prices]\ncpu_hour = 1", "prise is no key of a tariff; there are currency,"),
        ('currency = "E\\nUR"\n[prices]\ncpu_hour = 1', "not one line"),
        (HEAD + "[prices]\ncpu_hour = 1e13", "prices.cpu_hour=1E+13: write a number from 0 to 1000000000000"),
        (HEAD + "[prices]\ncpu_hour = -1", "prices.cpu_hour=-1: write a number from 0"),
        (HEAD + "[prices]\ncpu_hour = nan", "prices.cpu_hour=NaN"),
        (HEAD + "[prices]\ncpu_hour = inf", "prices.cpu_hour=Infinity"),
        (HEAD + "[prices]\ncpu_hour = true", "prices.cpu_hour=True"),
        (HEAD + '[prices]\ncpu_hour = "1"', "prices.cpu_hour=1"),
        (HEAD + "digits = 20\n[prices]\ncpu_hour = 1", "digits=20: write a whole number from 0 to 9"),
        (HEAD + "[prices\n", "t.toml is no TOML"),
    ],
)
def test_what_is_no_tariff_is_refused_with_its_key(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text, where="t.toml")
    assert said in str(refused.value)
