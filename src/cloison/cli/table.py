"""Aligned text. Pure.

Plain enough for a pipe, and drawn without rich, whose import takes longer than everything else in `ls`.
"""

from collections.abc import Sequence

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, is_bold: bool = False) -> str:
    """The rows below their header, in columns; the header bold for a terminal."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if is_bold:
        texts[0] = f"{BOLD}{texts[0]}{PLAIN}"
    return "".join(f"{text}\n" for text in texts)


def listed(pairs: Sequence[tuple[str, str]], *, indent: str = "  ") -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "".join(f"{indent}{name:{width}}  {value}\n" for name, value in pairs)
