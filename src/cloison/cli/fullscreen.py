"""A board on the whole terminal, through curses: drawn, and its keys heard. Source: curses(3)."""

import curses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cloison.cli.board import FRAME, Board, Style

if TYPE_CHECKING:
    from cloison.engine.results import Stats

ESCAPE_MS = 25  # a lone Escape is told from the beginning of a key's sequence by what follows within this
NAMES = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "page up",
    curses.KEY_NPAGE: "page down",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
    curses.KEY_BACKSPACE: "backspace",
    curses.KEY_ENTER: "enter",
    8: "backspace",
    127: "backspace",
    10: "enter",
    13: "enter",
    27: "escape",
}


def run(board: Board, look: "Callable[[], Sequence[Stats]]") -> None:
    """Show what `look` sees, again and again, until the user leaves. The terminal is as it was afterwards."""
    curses.set_escdelay(ESCAPE_MS)
    curses.wrapper(_loop, board, look)


def _loop(screen: "curses.window", board: Board, look: "Callable[[], Sequence[Stats]]") -> None:
    styles = _styles()
    next_s = 0.0
    while True:
        now_s = time.monotonic()
        if now_s >= next_s:
            board = board.seen(look())
            next_s = now_s + board.pace_s
        _draw(screen, board, styles)
        screen.timeout(max(1, round((next_s - time.monotonic()) * 1000)))
        number = screen.getch()  # -1: the time is over; KEY_RESIZE: draw again, at the new size
        if number in (-1, curses.KEY_RESIZE):
            continue
        height, _width = screen.getmaxyx()
        pressed = board.pressed(NAMES.get(number) or _letter(number), max(1, height - FRAME))
        if pressed is None:
            return
        if pressed.pace_s != board.pace_s:
            next_s = min(next_s, time.monotonic() + pressed.pace_s)
        board = pressed


def _letter(number: int) -> str:
    return chr(number) if 32 <= number < 127 else ""


def _draw(screen: "curses.window", board: Board, styles: dict[Style, int]) -> None:
    height, width = screen.getmaxyx()
    screen.erase()
    for row, line in enumerate(board.lines(height, width - 1)):  # the last cell of the last line cannot be written
        column = 0
        for piece in line:
            try:
                screen.addstr(row, column, piece.text, styles[piece.style])
            except curses.error:
                break  # the window has just become smaller: the next round knows
            column += len(piece.text)
    screen.refresh()


def _styles() -> dict[Style, int]:
    found = {
        Style.PLAIN: curses.A_NORMAL,
        Style.BOLD: curses.A_BOLD,
        Style.BAND: curses.A_REVERSE,
        Style.LOW: curses.A_NORMAL,
        Style.MIDDLE: curses.A_BOLD,
        Style.HIGH: curses.A_BOLD | curses.A_UNDERLINE,
    }
    curses.curs_set(0)
    if curses.has_colors():
        curses.use_default_colors()
        for number, (style, colour) in enumerate(
            ((Style.LOW, curses.COLOR_GREEN), (Style.MIDDLE, curses.COLOR_YELLOW), (Style.HIGH, curses.COLOR_RED)), 1
        ):
            curses.init_pair(number, colour, -1)
            found[style] = curses.color_pair(number)
    return found
