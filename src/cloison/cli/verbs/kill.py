"""`cloison kill`."""

import click

from cloison.cli.completing import signals
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison kill web", "cloison kill -s HUP web", "cloison kill --all web"))
@names_argument
@click.option(
    "-s", "--signal", default="SIGKILL", show_default=True, shell_complete=signals, help="A name or a number."
)
@click.option("--all", "is_whole_tree", is_flag=True, help="Every process inside, not the init alone.")
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], signal: str, *, is_whole_tree: bool) -> int:
    """Send the init of instances a signal, or everything inside."""
    return invocation.each(names, lambda instance: instance.kill(signal, is_whole_tree=is_whole_tree))
