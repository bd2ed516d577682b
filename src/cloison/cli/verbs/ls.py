"""`cloison ls`."""

import click

from cloison.cli import listing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation


@click.command(cls=Verb, examples=("cloison ls", "cloison ls --running", "cloison ls -q", "cloison ls --json"))
@click.option("-r", "--running", is_flag=True, help="Leave out what is stopped.")
@click.option("-q", "--quiet", "names_only", is_flag=True, help="Names only, one on each line.")
@as_json
@pass_invocation
def command(invocation: Invocation, *, running: bool, names_only: bool, as_json: bool) -> int:
    """List the instances. Also called `list`."""
    return listing.show(invocation, running=running, names_only=names_only, as_json=as_json)
