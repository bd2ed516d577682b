"""`cloison logs`."""

import sys

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, name_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison logs web", "cloison logs -n 20 web", "cloison logs -f web"))
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what is new, until the instance has ended.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="COUNT", help="Show the last lines only.")
@pass_invocation
def command(invocation: Invocation, name: str, lines: int | None, *, follow: bool) -> None:
    """Show what the console of an instance has shown."""
    from cloison.cli.following import Follower, last_lines

    instance = invocation.get(name)
    out = sys.stdout.buffer
    if not follow:
        past = instance.logs()
        out.write(past if lines is None else last_lines(past, lines))
        return
    with Follower(instance.log_path(), lambda: instance.state) as follower:
        past = follower.past()
        out.write(past if lines is None else last_lines(past, lines))
        out.flush()
        for data in follower:
            out.write(data)
            out.flush()
