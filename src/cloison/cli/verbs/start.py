"""`cloison start`."""

import click

from cloison.cli.invocation import Invocation, pass_invocation
from cloison.cli.verb import Verb, names_argument, verbose


@click.command(cls=Verb, examples=("cloison start web", "cloison start web db", "cloison start -v web"))
@names_argument
@verbose
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Start instances."""
    return invocation.each(names, lambda instance: instance.start(watch=invocation.watch()))
