"""Pairs of measurements, and what is said about them. Pure, but for the waiting between two measurements."""

import statistics
import time
from collections.abc import Callable
from typing import Literal

import msgspec

Measure = Callable[[], float]
Verdict = Literal["met", "missed", "", "skipped"]


class Series(msgspec.Struct, frozen=True):
    """Repeated measurements of one thing, in the unit of their row."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles: half of all measurements lie between them."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. A row with a bar has a verdict; one without is there to be compared."""

    what: str
    peer: str
    unit: str = "ms"
    ours: Series | None = None
    theirs: Series | None = None
    ratio: Series | None = None
    bar: str = ""
    verdict: Verdict = ""
    note: str = ""


def alternate(ours: Measure, theirs: Measure, rounds: int, *, rest_s: float = 0.0) -> tuple[Series, Series]:
    """Measure both in turns, `rounds` times, each after `rest_s` of quiet; who begins changes from round to round.

    One unmeasured round comes first: what is read from disk then is in memory afterwards."""
    mine, others = [], []
    for turn in range(-1, rounds):
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        time.sleep(rest_s)
        one = first()
        time.sleep(rest_s)
        two = second()
        if turn >= 0:
            mine.append(one if first is ours else two)
            others.append(two if first is ours else one)
    return Series(tuple(mine)), Series(tuple(others))


def ratios(ours: Series, theirs: Series) -> Series:
    """The ratio of each pair."""
    return Series(tuple(a / b for a, b in zip(ours.values, theirs.values, strict=True)))


def compared(
    what: str,
    peer: str,
    pair: tuple[Series, Series],
    *,
    unit: str = "ms",
    at_most: float | None = None,
    at_least: float | None = None,
    bar: str = "",
    note: str = "",
) -> Row:
    """A row of two series; its bar is the ratio `at_most` or `at_least`, or none."""
    ours, theirs = pair
    ratio = ratios(ours, theirs)
    verdict: Verdict = ""
    if at_most is not None:
        bar = bar or f"at most {at_most:g} x {peer}"
        verdict = "met" if ratio.median <= at_most else "missed"
    elif at_least is not None:
        bar = bar or f"at least {at_least:g} x {peer}"
        verdict = "met" if ratio.median >= at_least else "missed"
    return Row(
        what=what,
        peer=peer,
        unit=unit,
        ours=ours,
        theirs=theirs,
        ratio=ratio,
        bar=bar,
        verdict=verdict,
        note=note,
    )


def more_than(what: str, peer: str, pair: tuple[Series, Series], *, at_most_ms: float | None = None) -> Row:
    """A row of two series; its bar, if it has one, is the median of their differences, which stands in the note."""
    more = Series(tuple(a - b for a, b in zip(pair[0].values, pair[1].values, strict=True))).median
    row = msgspec.structs.replace(compared(what, peer, pair), note=f"{more:.1f} ms more")
    if at_most_ms is None:
        return row
    return msgspec.structs.replace(
        row, bar=f"at most {at_most_ms:g} ms more", verdict="met" if more <= at_most_ms else "missed"
    )


def skipped(what: str, peer: str, why: str) -> Row:
    """A row that could not be measured, and why."""
    return Row(what=what, peer=peer, verdict="skipped", note=why)
