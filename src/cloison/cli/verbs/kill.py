"""`cloison kill`."""

import click

from cloison.cli.completing import signals
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison kill web", "cloison kill -s HUP web"))
@names_argument
@click.option(
    "-s", "--signal", default="SIGKILL", show_default=True, shell_complete=signals, help="A name or a number."
)
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], signal: str) -> int:
    """Send the init of instances a signal."""
    return invocation.each(names, lambda instance: instance.kill(signal))
