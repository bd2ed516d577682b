"""`cloison check`."""

import click
import msgspec

from cloison.cli.invocation import Invocation, pass_invocation
from cloison.cli.verb import Verb, as_json


@click.command(cls=Verb, examples=("cloison check", "cloison check --json"))
@as_json
@pass_invocation
def command(invocation: Invocation, *, as_json: bool) -> None:
    """Say what this host offers, what it lacks, and what to do about it."""
    found = invocation.engine.check()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    click.echo(repr(found))
