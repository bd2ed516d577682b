"""`cloison export`."""

import os
import sys

import click

from cloison.base.errors import Exists, Usage
from cloison.cli.host_files import write, write_whole
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, name_argument, pass_invocation


@click.command(
    cls=Verb,
    examples=(
        "cloison export web web.cloison",
        "cloison export web - | ssh other cloison import -",
        "cloison export web changes.cloison --since monday",
    ),
)
@name_argument
@click.argument("file", type=click.Path(), default="", required=False)
@click.option("--since", default="", metavar="SNAPSHOT", help="Only what has changed since a snapshot.")
@click.option("--no-snapshots", is_flag=True, help="Leave its snapshots out.")
@click.option("--without-image", is_flag=True, help="Leave its image out, which the other side then has to have.")
@click.option(
    "--compression",
    type=click.Choice(("zstd", "none")),
    default="zstd",
    show_default=True,
    help="How the stream is made smaller.",
)
@click.option("-f", "--force", is_flag=True, help="Write over a file that there is.")
@pass_invocation
def command(
    invocation: Invocation,
    name: str,
    file: str,
    since: str,
    compression: str,
    *,
    no_snapshots: bool,
    without_image: bool,
    force: bool,
) -> None:
    """Write an instance as one stream.

    Its configuration, its files, its snapshots and its image are in it. Without FILE it is NAME.cloison; - is the
    standard output. One that runs is held still for a moment.
    """
    target = file or f"{name}.cloison"
    if target == "-" and sys.stdout.isatty():
        raise Usage("this is no terminal's matter", hint="write it into a file, or into a pipe")
    if target != "-" and not force and os.path.exists(target):
        raise Exists(f"there is a file {target!r} already", hint="choose another name, or use --force", path=target)
    exported = invocation.engine.export(
        name,
        since=since,
        has_snapshots=not no_snapshots,
        has_image=not without_image,
        compression=compression,
    )
    with exported as chunks:
        if target == "-":
            write(1, chunks)
        else:
            write_whole(target, chunks, 0o600)
