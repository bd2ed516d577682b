"""`cloison events`."""

import sys
import time

import click

from cloison.cli.completing import instances
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation

HEADER = ("TIME", "INSTANCE", "EVENT", "DETAIL")


@click.command(cls=Verb, examples=("cloison events", "cloison events web", "cloison events --json -n 10"))
@click.argument("name", default="", required=False, shell_complete=instances)
@click.option("-n", "--lines", type=click.IntRange(min=1), metavar="COUNT", help="Show the last ones only.")
@as_json
@pass_invocation
def command(invocation: Invocation, name: str, lines: int | None, *, as_json: bool) -> None:
    """List what happened, oldest first.

    To the instance NAME, or to all."""
    engine = invocation.engine
    events = engine.events(engine.get(name).id if name else "")
    events = events[-lines:] if lines else events
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(events)))
        return
    names = {instance.id: instance.name for instance in engine.instances()}
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time_ns / 1e9)),
            names.get(event.subject, event.subject),
            event.what,
            event.detail,
        )
        for event in events
    ]
    click.echo(aligned(HEADER, rows, is_bold=shows_colours(sys.stdout)), nl=False)
