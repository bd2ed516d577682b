"""`cloison _reboot`: what the monitor of an instance runs after its guest has rebooted. Not for people."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command("_reboot", cls=Verb, hidden=True, examples=())
@click.argument("instance_id")
@pass_invocation
def command(invocation: Invocation, instance_id: str) -> None:
    """Start an instance again that has rebooted itself."""
    invocation.get(instance_id).after_reboot()
