"""`cloison console`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, name_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison console web",))
@name_argument
@pass_invocation
def command(invocation: Invocation, name: str) -> None:
    """Use the console of an instance; Ctrl-a q leaves.

    What it has shown lately is shown again first. Ctrl-a Ctrl-a sends one Ctrl-a.
    """
    instance = invocation.get(name)
    instance.console(lambda: invocation.note(f"Connected to the console of {instance.name}; Ctrl-a q leaves"))
