"""`cloison top`."""

import os
import sys

import click

from cloison.base.errors import Usage
from cloison.cli import completing, statistics
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command(cls=Verb, examples=("cloison top", "cloison top web db"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.instances)
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Show what instances use on the whole terminal, the busiest first.

    Every column can be sorted by: with its key, which is shown at the bottom, or with < and >. `cloison stats` is for
    what is no terminal.
    """
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise Usage(
            "top: this needs a terminal", hint="`cloison stats` prints a table, and with --watch again and again"
        )
    import curses

    from cloison.cli import fullscreen
    from cloison.cli.board import Board, Host

    looks = statistics.looks(invocation, names)
    next(looks)  # what is wrong is said before the screen is taken
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        fullscreen.run(Board(Host(os.cpu_count() or 1, memory_bytes)), lambda: next(looks))
    except KeyboardInterrupt:
        return
    except curses.error as problem:
        raise Usage(f"top: this terminal cannot be drawn on: {problem}", hint="set TERM to what it is") from None
