"""`cloison start`."""

import click

from cloison.cli import calls
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation, verbose


@click.command(cls=Verb, examples=("cloison start web", "cloison start web db", "cloison start -v web"))
@names_argument
@verbose
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Start instances."""
    return calls.start(invocation, names)
