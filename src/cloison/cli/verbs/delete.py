"""`cloison delete`."""

import click

from cloison.cli import calls
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison delete web", "cloison rm -f web db"))
@names_argument
@click.option("-f", "--force", is_flag=True, help="Kill it first where it is running.")
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], *, force: bool) -> int:
    """Delete instances with all their files. Also called `rm`."""
    return calls.delete(invocation, names, force=force)
