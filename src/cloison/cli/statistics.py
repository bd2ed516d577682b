"""What instances use, once or again and again. The plain form goes without click and rich: see `cloison.cli.quick`."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from cloison.cli.gauges import COLUMNS, Reading, rates
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours

if TYPE_CHECKING:
    from rich.table import Table

    from cloison.engine.results import Stats

BOOKED_EVERY_S = 30.0  # while a table is watched: the ledger needs no more
UP = ("running", "frozen", "stopping")


def show(
    invocation: Invocation,
    names: Sequence[str] = (),
    *,
    shows_all: bool = False,
    as_json: bool = False,
    every_s: float | None = None,
) -> int:
    """Print what the instances of these names use, or all that are up; with `every_s` until the user ends it."""
    if every_s is not None:
        return watch(invocation, names, every_s, shows_all=shows_all, as_json=as_json)
    found = chosen(invocation.engine.stats(names), names, shows_all=shows_all)
    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    else:
        sys.stdout.write(_table([Reading(stats, rates(None, stats)) for stats in found]))
    return 0


def chosen(found: "Iterable[Stats]", names: Sequence[str], *, shows_all: bool) -> "list[Stats]":
    """Those that were named, or those that are up."""
    return [stats for stats in found if names or shows_all or stats.state in UP]


def watch(
    invocation: Invocation, names: Sequence[str], every_s: float, *, shows_all: bool = False, as_json: bool = False
) -> int:
    """The table again and again, or a line of JSON each time; q or Ctrl-C ends it. Without a terminal, one table
    follows another."""
    with suppress(KeyboardInterrupt), invocation.engine.keys() as key:
        rated = _rated(looks(invocation, names), names, shows_all=shows_all)
        if as_json:
            _repeat(rated, key, every_s, _line_of_json)
        elif sys.stdout.isatty():
            _redraw(rated, key, every_s)
        else:
            _repeat(rated, key, every_s, lambda readings: _table(readings) + "\n")
    return 0


def looks(invocation: Invocation, names: Sequence[str]) -> "Iterator[tuple[Stats, ...]]":
    """A new look with each step; the ledger hears of some of them."""
    booked_s = float("-inf")
    while True:
        is_booked = time.monotonic() - booked_s >= BOOKED_EVERY_S
        booked_s = time.monotonic() if is_booked else booked_s
        yield invocation.engine.stats(names, is_booked=is_booked)


def _rated(found: "Iterator[tuple[Stats, ...]]", names: Sequence[str], *, shows_all: bool) -> Iterator[list[Reading]]:
    """The looks, each with the rates since the one before."""
    before: dict[str, Stats] = {}
    for look in found:
        yield [Reading(one, rates(before.get(one.id), one)) for one in chosen(look, names, shows_all=shows_all)]
        before = {one.id: one for one in look}


def is_end(key: str) -> bool:
    """Whether the user wants no more."""
    return key[:1] in ("q", "Q", "\x1b", "\x03", "\x04")


def _repeat(
    rated: Iterator[list[Reading]], key: Callable[[float], str], every_s: float, text: Callable[[list[Reading]], str]
) -> None:
    for readings in rated:
        sys.stdout.write(text(readings))
        sys.stdout.flush()
        if is_end(key(every_s)):
            return


def _redraw(rated: Iterator[list[Reading]], key: Callable[[float], str], every_s: float) -> None:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        for readings in rated:
            live.update(_drawn(readings, every_s), refresh=True)
            if is_end(key(every_s)):
                return


def _drawn(readings: list[Reading], every_s: float) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=f"every {every_s:g} s; q ends", caption_justify="left")
    for column in COLUMNS:
        table.add_column(column.title, justify="right" if column.is_right else "left", no_wrap=True)
    for reading in readings:
        table.add_row(*(column.text(reading) for column in COLUMNS))
    return table


def _table(readings: list[Reading]) -> str:
    rows = [[column.text(reading) for column in COLUMNS] for reading in readings]
    return aligned([column.title for column in COLUMNS], rows, is_bold=shows_colours(sys.stdout))


def _line_of_json(readings: list[Reading]) -> str:
    import msgspec

    return msgspec.json.encode([reading.stats for reading in readings]).decode() + "\n"
