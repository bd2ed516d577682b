"""Aligned text and colours. Pure, but for the question whether a stream shows colours.

Plain enough for a pipe, and drawn without rich, whose import takes longer than everything else in `ls`.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import TextIO


class Ink(StrEnum):
    """What begins a colour on a terminal. Source: ECMA-48, "SGR"."""

    BOLD = "\x1b[1m"
    RED = "\x1b[31m"
    GREEN = "\x1b[32m"
    YELLOW = "\x1b[33m"
    PLAIN = "\x1b[0m"


def shows_colours(stream: TextIO) -> bool:
    """Whether it is a terminal whose user has nothing against colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, ink: Ink | None) -> str:
    """The text in that colour; as it is for None."""
    return f"{ink}{text}{Ink.PLAIN}" if ink else text


def printable(text: str) -> str:
    """Text on one line, in which nothing commands a terminal: images, imports and guests say much of what is shown."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, is_bold: bool = False) -> str:
    """The rows below their header, in columns; the header bold for a terminal."""
    lines = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    texts[0] = painted(texts[0], Ink.BOLD if is_bold else None)
    return "".join(f"{text}\n" for text in texts)


def listed(pairs: Sequence[tuple[str, str]], *, indent: str = "  ") -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "".join(f"{indent}{name:{width}}  {printable(value)}\n" for name, value in pairs)
