"""What consumption costs. Pure.

A tariff is a small TOML file; what has no price costs nothing:

    currency = "EUR"            # printed, not converted
    digits = 2                  # behind the point of an amount; 2 where it is left out

    [prices]                    # for one of each
    cpu_hour = 0.02             # an hour of one CPU
    memory_gib_hour = 0.005     # 1024^3 bytes held for an hour
    disk_gib_hour = 0.0001
    io_gib = 0.001              # read from and written to block devices
    network_gib = 0.01          # received and sent

Numbers are never floats: a price is the decimal number that was written, what was used is counted in whole
nanoseconds and bytes, and only the amount of a line is rounded, to even. A sum is that of the rounded lines.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import msgspec

from cloison.base.errors import Invalid
from cloison.spec.consumption import HOUR_NS, HOUR_S, Consumption

GIB = 1 << 30
PRICES = ("cpu_hour", "memory_gib_hour", "disk_gib_hour", "io_gib", "network_gib")
MAX_DIGITS = 9
MAX_PRICE = 10**12  # with which amounts keep all their digits
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Tariff(msgspec.Struct, frozen=True):
    """A currency and the price of each unit of PRICES."""

    currency: str
    prices: dict[str, Decimal]
    digits: int = 2

    @property
    def nothing(self) -> Decimal:
        """An amount of zero, with its digits."""
        return Decimal(0).scaleb(-self.digits)

    def amount(self, used: Consumption) -> Decimal:
        """What it costs, rounded to `digits`."""
        units = {
            "cpu_hour": Fraction(used.cpu_ns, HOUR_NS),
            "memory_gib_hour": Fraction(used.memory_byte_s, HOUR_S * GIB),
            "disk_gib_hour": Fraction(used.disk_byte_s, HOUR_S * GIB),
            "io_gib": Fraction(used.read_bytes + used.written_bytes, GIB),
            "network_gib": Fraction(used.received_bytes + used.sent_bytes, GIB),
        }
        exact = sum((units[name] * Fraction(price) for name, price in self.prices.items()), Fraction(0))
        return Decimal(round(exact * 10**self.digits)).scaleb(-self.digits, _EXACT)


def parse(text: str, *, where: str) -> Tariff:
    """The tariff that `text` is, from the file `where`. Raises Invalid, which names the line or the key."""
    import tomllib

    try:
        read = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as problem:
        raise Invalid(f"{where} is no TOML: {problem}") from None
    _expect_known(where, read, ("currency", "digits", "prices"))
    currency, digits, prices = read.get("currency"), read.get("digits", 2), read.get("prices")
    if not isinstance(currency, str) or not currency.strip() or not currency.isprintable():
        raise Invalid(
            f'{where}: currency is missing, or not one line; write what amounts are in, such as currency = "EUR"'
        )
    if not isinstance(digits, int) or isinstance(digits, bool) or not 0 <= digits <= MAX_DIGITS:
        raise Invalid(f"{where}: digits={digits}: write a whole number from 0 to {MAX_DIGITS}")
    if not isinstance(prices, dict) or not prices:
        raise Invalid(f"{where}: there is no price; write [prices], and below it one of {', '.join(PRICES)}")
    _expect_known(where, prices, PRICES, within="prices.")
    return Tariff(currency.strip(), {name: _price(where, name, value) for name, value in prices.items()}, digits)


def _price(where: str, name: str, value: object) -> Decimal:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    price = Decimal(str(value)) if is_number else Decimal(-1)
    if not price.is_finite() or not 0 <= price <= MAX_PRICE:
        raise Invalid(f"{where}: prices.{name}={value}: write a number from 0 to {MAX_PRICE}, such as 0.02")
    return price


def _expect_known(where: str, found: dict[str, object], known: tuple[str, ...], *, within: str = "") -> None:
    for name in found:
        if name not in known:
            raise Invalid(f"{where}: {within}{name} is no key of a tariff; there are {', '.join(known)}")
