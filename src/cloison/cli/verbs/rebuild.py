"""`cloison rebuild`."""

import click

from cloison.cli import completing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, name_argument, pass_invocation
from cloison.cli.verbs.create import pairs


@click.command(cls=Verb, examples=("cloison rebuild web", "cloison rebuild web debian/13 --force"))
@name_argument
@click.argument("image", default="", required=False, shell_complete=completing.images)
@click.option("-f", "--force", is_flag=True, help="Stop it first where it runs, and start it again.")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the image's template."
)
@pass_invocation
def command(invocation: Invocation, name: str, image: str, options: tuple[str, ...], *, force: bool) -> None:
    """Begin anew with an image's files, and keep the rest.

    Its configuration, addresses, volumes and snapshots stay. Without IMAGE it is that which it was made from. What it
    was is kept as the snapshot `pre-rebuild` until it has been started; give that another name to keep it for longer.
    """
    with invocation.progress(f"rebuilding {name}") as progress:
        invocation.engine.rebuild(name, image, options=dict(pairs(options)), force=force, progress=progress)
