"""When something is to happen again and again, as cron(8) writes it. Pure.

    0 3 * * *            minute, hour, day of the month, month, day of the week (0 and 7 are Sunday)
    */15 8-18 * * 1-5    lists, ranges and steps of them
    @hourly @daily @midnight @weekly @monthly @yearly @annually

As with cron, where both a day of the month and a day of the week are said, either is enough. Moments are those of the
clock on the wall. Source: crontab(5).
"""

from datetime import datetime, timedelta

import msgspec

from cloison.base.errors import Invalid

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
_MOST_DAYS = 366 * 8 + 1  # from one 29th of February to the next, where a century has none


class Schedule(msgspec.Struct, frozen=True):
    """The minutes, hours, days and months at which it happens. `is_any_day`: it takes only one of the two kinds of
    days, where both are said."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool

    def latest(self, now: datetime) -> datetime | None:
        """The last time at or before `now` at which it was to happen; None for a day that there never is."""
        end = now.replace(second=0, microsecond=0)
        for _ in range(_MOST_DAYS):
            if self._is_on(end):
                found = self._last_of_day(end)
                if found is not None:
                    return found
            end = (end - timedelta(days=1)).replace(hour=23, minute=59)
        return None

    def _is_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        is_day, is_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return is_day or is_weekday if self.is_any_day else is_day and is_weekday

    def _last_of_day(self, end: datetime) -> datetime | None:
        for hour in sorted(self.hours, reverse=True):
            for minute in sorted(self.minutes, reverse=True):
                if (hour, minute) <= (end.hour, end.minute):
                    return end.replace(hour=hour, minute=minute)
        return None


def parse(text: str) -> Schedule:
    """The schedule that `text` means. Raises Invalid."""
    words = _WORDS.get(text, text).split()
    if len(words) != len(_FIELDS):
        raise Invalid(
            f"{text!r} is no schedule; write {', '.join(_WORDS)}, or five fields as cron has them, such as '0 3 * * *'"
        )
    minutes, hours, days, months, weekdays = (
        _numbers(word, *field) for word, field in zip(words, _FIELDS, strict=True)
    )
    is_any_day = not words[2].startswith("*") and not words[4].startswith("*")
    found = Schedule(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), is_any_day)
    if found.latest(datetime(2026, 12, 31, 23, 59)) is None:
        raise Invalid(f"{text!r} is no schedule: there is no such day")
    return found


def _numbers(word: str, what: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            first, dash, last = str(low), "-", str(high)
        ends = (_number(first, low, high), _number(last, low, high) if dash else _number(first, low, high))
        stride = _number(step, 1, high) if slash else 1
        if slash and not dash:
            ends = (ends[0], high)
        if None in ends or stride is None or (ends[0] or 0) > (ends[1] or 0):
            raise Invalid(f"{part!r} is no {what} of a schedule; write numbers from {low} to {high}, *, 1-5 or */2")
        found |= set(range(ends[0] or 0, (ends[1] or 0) + 1, stride))
    return frozenset(found)


def _number(text: str, low: int, high: int) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) < 4
    return int(text) if is_number and low <= int(text) <= high else None
