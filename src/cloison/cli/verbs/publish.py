"""`cloison publish`."""

import click

from cloison.cli import completing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command(
    cls=Verb,
    examples=(
        "cloison publish web --name web/1.0",
        "cloison publish web/before-upgrade --name golden --description ready",
    ),
)
@click.argument("source", metavar="NAME[/SNAPSHOT]", shell_complete=completing.instances)
@click.option("--name", "image", required=True, metavar="IMAGE", help="What the image is to be called.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("-f", "--force", is_flag=True, help="Publish one that runs: it is held still for a moment.")
@pass_invocation
def command(invocation: Invocation, source: str, image: str, description: str, *, force: bool) -> None:
    """Make an image of an instance, or of a snapshot; print its name."""
    with invocation.progress(f"publishing {source}") as progress:
        made = invocation.engine.publish(source, image, force=force, description=description, progress=progress)
    click.echo(made.names[0])
