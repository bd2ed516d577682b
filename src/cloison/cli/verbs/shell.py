"""`cloison shell`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import PayloadVerb, name_argument, pass_invocation


@click.command(cls=PayloadVerb, examples=("cloison shell web", "echo uptime | cloison shell web"))
@name_argument
@pass_invocation
def command(invocation: Invocation, name: str) -> int:
    """Open a login shell of root inside an instance."""
    return invocation.get(name).shell()
