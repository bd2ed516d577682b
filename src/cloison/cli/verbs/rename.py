"""`cloison rename`."""

import click

from cloison.cli.completing import instances
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command(cls=Verb, examples=("cloison rename web shop",))
@click.argument("old", shell_complete=instances)
@click.argument("new")
@pass_invocation
def command(invocation: Invocation, old: str, new: str) -> None:
    """Give a stopped instance another name."""
    invocation.get(old).rename(new)
