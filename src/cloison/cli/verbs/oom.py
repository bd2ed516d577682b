"""`cloison _oom`: what the monitor of an instance runs when the kernel is short of memory for it. Not for people."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command("_oom", cls=Verb, hidden=True, examples=())
@click.argument("instance_id")
@pass_invocation
def command(invocation: Invocation, instance_id: str) -> None:
    """Note which processes of an instance the kernel has killed for want of memory."""
    invocation.get(instance_id).after_alarm()
