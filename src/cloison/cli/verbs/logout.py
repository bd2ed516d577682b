"""`cloison logout`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command(cls=Verb, examples=("cloison logout registry.example.org",))
@click.argument("registry", default="docker.io")
@pass_invocation
def command(invocation: Invocation, registry: str) -> None:
    """Forget the user and password for a registry (default: docker.io)."""
    if not invocation.engine.servers.logout(registry):
        invocation.note(f"there was no password for {registry}")
