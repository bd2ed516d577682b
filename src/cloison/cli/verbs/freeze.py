"""`cloison freeze`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison freeze web", "cloison freeze web db"))
@names_argument
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Let no process of instances run any further.

    They stay in memory; `cloison unfreeze` lets them go on, and so does `cloison stop`.
    """
    return invocation.each(names, lambda instance: instance.freeze())
