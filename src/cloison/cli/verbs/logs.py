"""`cloison logs`."""

import sys
from collections.abc import Callable

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, name_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison logs web", "cloison logs -n 20 web", "cloison logs -f web"))
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what is new, until the instance has ended.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="COUNT", help="Show the last lines only.")
@pass_invocation
def command(invocation: Invocation, name: str, lines: int | None, *, follow: bool) -> None:
    """Show what the console of an instance has shown.

    A pipe or a file gets every byte of it; a terminal gets text and colours, and no other control sequence.
    """
    from cloison.cli.following import Follower, last_lines

    instance = invocation.get(name)
    show = _on_terminal() if sys.stdout.isatty() else _write
    if not follow:
        past = instance.logs()
        show(past if lines is None else last_lines(past, lines))
        return
    with Follower(instance.log_path(), lambda: instance.state) as follower:
        past = follower.past()
        show(past if lines is None else last_lines(past, lines))
        for data in follower:
            show(data)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _on_terminal() -> Callable[[bytes], None]:
    from cloison.base.escapes import Harmless

    pieces = Harmless()
    return lambda data: _write(pieces.feed(data))
