"""`cloison _ended`: what the monitor of an ephemeral instance runs at the end. Not for people."""

import click

from cloison.base.errors import NotFound
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation

PATIENCE_S = 60.0  # of another command on the instance, such as the stop that has waited for its end


@click.command("_ended", cls=Verb, hidden=True, examples=())
@click.argument("instance_id")
@pass_invocation
def command(invocation: Invocation, instance_id: str) -> None:
    """Delete an ephemeral instance that has ended."""
    try:
        instance = invocation.get(instance_id)
    except NotFound:  # the command that has stopped it was faster
        return
    instance.end_if_over(timeout_s=PATIENCE_S)
