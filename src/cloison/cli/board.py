"""What `cloison top` shows, as lines of text, and what its keys do. Pure: drawing it is `cloison.cli.fullscreen`'s.

cloison top   3 up, 1 stopped   CPU 34%   memory 812M of 24G   every 2 s
NAME  STATE    [CPU bar] CPU v  TIME  [memory bar] MEMORY  ...
web   running  [|||    ] 12%    1.2s  [||||||| ]   200M/256M 78%
...
q quit  < > sort column  r reverse  / filter  a all  + - pace  arrows, PgUp, PgDn scroll
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from cloison.base.units import format_size
from cloison.cli.gauges import COLUMNS, CPU, MEMORY, NAME, Column, Reading, percent, rates, share, size, total

if TYPE_CHECKING:
    from cloison.engine.results import Stats

UP = ("running", "frozen", "stopping")
BAR_WIDTH = 10
PACES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HELP = "q quit  < > sort  r reverse  / filter  a all  + - pace  arrows scroll"
TOO_SMALL = "too small"
FRAME = 4  # lines above and below the rows
PLAIN_KEYS = {column.key: index for index, column in enumerate(COLUMNS)}


class Style(StrEnum):
    """How a piece of text looks."""

    PLAIN = "plain"
    BOLD = "bold"
    BAND = "band"
    LOW = "low"
    MIDDLE = "middle"
    HIGH = "high"


class Piece(msgspec.Struct, frozen=True):
    """Text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Piece, ...]


class Host(msgspec.Struct, frozen=True):
    """What bars of instances without a limit are drawn against."""

    cpus: int
    memory_bytes: int


class Board(msgspec.Struct, frozen=True):
    """All that the screen depends on; every key and every look makes a new one."""

    host: Host
    readings: tuple[Reading, ...] = ()
    sort: int = COLUMNS.index(CPU)
    is_reversed: bool = False
    filter: str = ""
    is_typing: bool = False
    shows_all: bool = False
    first: int = 0
    pace_s: float = 2.0

    # --- news --------------------------------------------------------------------------------------------

    def seen(self, found: "Sequence[Stats]") -> "Board":
        """With a new look at everything, and the rates since the one before."""
        before = {reading.stats.id: reading.stats for reading in self.readings}
        readings = tuple(Reading(stats, rates(before.get(stats.id), stats)) for stats in found)
        return msgspec.structs.replace(self, readings=readings)

    def pressed(self, key: str, page: int) -> "Board | None":
        """After a key: a letter, or a name such as `down`; None when the user wants to leave."""
        if self.is_typing:
            return self._typed(key)
        if key in ("q", "Q"):
            return None
        if key in PLAIN_KEYS:
            return self._sorted_by(PLAIN_KEYS[key])
        moves = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -len(self.rows()), "end": 1 << 30}
        if key in moves:
            return msgspec.structs.replace(self, first=self._within(self.first + moves[key], page))
        match key:
            case "<" | "left" | ">" | "right":
                step = -1 if key in ("<", "left") else 1
                return self._sorted_by((self.sort + step) % len(COLUMNS), turns=False)
            case "r":
                return msgspec.structs.replace(self, is_reversed=not self.is_reversed)
            case "/":
                return msgspec.structs.replace(self, is_typing=True, filter="", first=0)
            case "a":
                return msgspec.structs.replace(self, shows_all=not self.shows_all, first=0)
            case "+" | "-":
                return msgspec.structs.replace(self, pace_s=self._pace(faster=key == "+"))
        return self

    def _typed(self, key: str) -> "Board":
        if key in ("enter", "escape"):
            return msgspec.structs.replace(self, is_typing=False, filter="" if key == "escape" else self.filter)
        if key == "backspace":
            return msgspec.structs.replace(self, filter=self.filter[:-1])
        return msgspec.structs.replace(self, filter=self.filter + key, first=0) if len(key) == 1 else self

    def _sorted_by(self, index: int, *, turns: bool = True) -> "Board":
        """By another column; by the same one the other way round."""
        is_same = turns and index == self.sort
        return msgspec.structs.replace(self, sort=index, is_reversed=is_same and not self.is_reversed)

    def _pace(self, *, faster: bool) -> float:
        index = PACES_S.index(self.pace_s) if self.pace_s in PACES_S else 2
        return PACES_S[min(len(PACES_S) - 1, max(0, index + (-1 if faster else 1)))]

    def _within(self, first: int, page: int) -> int:
        return max(0, min(first, len(self.rows()) - page))

    # --- the screen --------------------------------------------------------------------------------------

    def rows(self) -> list[Reading]:
        """Those that are shown, in their order: numbers with the largest first, words from A."""
        column = COLUMNS[self.sort]
        chosen = [
            reading
            for reading in self.readings
            if (self.shows_all or reading.stats.state in UP) and self.filter.lower() in reading.stats.name.lower()
        ]
        chosen.sort(key=lambda reading: reading.stats.name, reverse=self.is_reversed and not column.is_right)
        if column is not NAME:
            chosen.sort(key=column.rank, reverse=column.is_right != self.is_reversed)
        return chosen

    def lines(self, height: int, width: int) -> list[Line]:
        """The whole screen, no line longer than `width`."""
        if height < 5 or width < 20:
            return [(Piece(TOO_SMALL[: max(0, width)]),)] if height > 0 else []
        page = height - FRAME
        rows = self.rows()
        first = self._within(self.first, page)
        table = self._table(rows[first : first + page])
        empty = [(Piece("nothing is running" if not self.filter else f"no name has {self.filter!r} in it"),)]
        body = table[1:] or empty
        blank: Line = ()
        body += [blank] * (page - len(body))
        head: list[Line] = [(Piece(self._summary(rows), Style.BOLD),), table[0]]
        foot: list[Line] = [(Piece(text, Style.BAND),) for text in self._footer()]
        return [_cut(line, width) for line in (*head, *body, *foot)]

    def _summary(self, rows: list[Reading]) -> str:
        up = sum(1 for reading in self.readings if reading.stats.state in UP)
        cpu = total(*(reading.rates.cpu_percent for reading in rows))
        memory = total(*(reading.stats.usage.memory_bytes for reading in rows))
        return (
            f"cloison top   {up} up, {len(self.readings) - up} stopped   CPU {share(cpu)} of {self.host.cpus} CPUs   "
            f"memory {size(memory)} of {format_size(self.host.memory_bytes)}   every {self.pace_s:g} s"
        )

    def _footer(self) -> tuple[str, str]:
        letters = "sort: " + " ".join(f"{column.key}={column.word}" for column in COLUMNS)
        if self.is_typing:
            return letters, f"filter: {self.filter}_   (Enter keeps it, Escape drops it)"
        return letters, f"{HELP}   filter: {self.filter}" if self.filter else HELP

    def _table(self, rows: Sequence[Reading]) -> list[Line]:
        """The header and the rows, aligned, with bars before CPU and memory."""
        texts = [[column.text(reading) for column in COLUMNS] for reading in rows]
        titles = [column.title + self._mark(index) for index, column in enumerate(COLUMNS)]
        widths = [max(len(line[index]) for line in (titles, *texts)) for index in range(len(COLUMNS))]
        header: list[Piece] = []
        for index, column in enumerate(COLUMNS):
            bar = " " * (BAR_WIDTH + 3) if column in (CPU, MEMORY) else ""
            style = Style.BAND if index == self.sort else Style.BOLD
            header += [Piece(bar), Piece(_aligned(titles[index], widths[index], column), style), Piece("  ")]
        lines: list[Line] = [tuple(header)]
        for reading, cells in zip(rows, texts, strict=True):
            line: list[Piece] = []
            for index, column in enumerate(COLUMNS):
                line += self._bar(reading, column)
                line += [Piece(_aligned(cells[index], widths[index], column)), Piece("  ")]
            lines.append(tuple(line))
        return lines

    def _mark(self, index: int) -> str:
        if index != self.sort:
            return ""
        return " v" if COLUMNS[index].is_right != self.is_reversed else " ^"

    def _bar(self, reading: Reading, column: Column) -> list[Piece]:
        if column is CPU:
            limit = reading.stats.limits.cpus or self.host.cpus
            return bar(percent(reading.rates.cpu_percent, limit * 100))
        if column is MEMORY:
            limit_bytes = reading.stats.limits.memory_bytes or self.host.memory_bytes
            return bar(percent(reading.stats.usage.memory_bytes, limit_bytes))
        return []


def bar(filled_percent: float | None) -> list[Piece]:
    """`[|||       ] `, green, yellow from 60 %, red from 85 %."""
    filled = min(100.0, max(0.0, filled_percent or 0.0))
    count = round(filled * BAR_WIDTH / 100)
    count = max(count, 1) if filled >= 1 else count
    style = Style.HIGH if filled >= 85 else Style.MIDDLE if filled >= 60 else Style.LOW
    return [Piece("["), Piece("|" * count, style), Piece(" " * (BAR_WIDTH - count) + "] ")]


def _aligned(text: str, width: int, column: Column) -> str:
    return text.rjust(width) if column.is_right else text.ljust(width)


def _cut(line: Line, width: int) -> Line:
    """No longer than the screen is wide."""
    cut: list[Piece] = []
    for piece in line:
        room = width - sum(len(one.text) for one in cut)
        if room > 0 and piece.text:
            cut.append(Piece(piece.text[:room], piece.style))
    return tuple(cut)
