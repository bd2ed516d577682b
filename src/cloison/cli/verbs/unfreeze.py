"""`cloison unfreeze`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison unfreeze web", "cloison unfreeze web db"))
@names_argument
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Let frozen instances go on."""
    return invocation.each(names, lambda instance: instance.unfreeze())
