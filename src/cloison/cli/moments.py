"""Moments as people write them, in nanoseconds since 1970. Pure.

2026-11-01                  the beginning of that day, in UTC
2026-11-01T12:00:00Z        RFC 3339; also with an offset, such as +01:00
-7d, -12h, -1h30m           so long ago
now
"""

import re
from datetime import UTC, datetime

from cloison.base import units
from cloison.base.errors import Invalid

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})")
_HOW = "write a day such as 2026-11-01, a time such as 2026-11-01T12:00:00Z, or how long ago, such as -7d"


def parse(text: str, *, key: str, now_ns: int) -> int:
    """The moment that `text` means, at the time `now_ns`. Raises Invalid."""
    if text == "now":
        return now_ns
    if text.startswith("-"):
        try:
            return max(0, now_ns - round(units.parse_duration(text[1:], key=key) * 1e9))
        except Invalid:
            raise Invalid(f"{key}={text}: this is no time; {_HOW}") from None
    if not _DAY.fullmatch(text) and not _TIME.fullmatch(text):
        raise Invalid(f"{key}={text}: this is no time; {_HOW}")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as problem:
        raise Invalid(f"{key}={text}: {problem}; {_HOW}") from None
    return max(0, round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000)


def first_of_month(now_ns: int) -> int:
    """The beginning of the month, in UTC."""
    now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return round(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
