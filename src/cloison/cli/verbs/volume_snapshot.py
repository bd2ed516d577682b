"""`cloison volume snapshot`: what was in a volume at other times."""

import sys

import click

from cloison.cli import completing
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation

_volume = click.argument("name", metavar="[POOL/]VOLUME", shell_complete=completing.volumes)


@click.group("snapshot")
def group() -> None:
    """Keep what is in a volume, and go back to it."""


@group.command(
    "create",
    cls=Verb,
    examples=("cloison volume snapshot create data", "cloison volume snapshot create fast/db before-upgrade"),
)
@_volume
@click.argument("snapshot", default="", required=False)
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@pass_invocation
def _create(invocation: Invocation, name: str, snapshot: str, description: str) -> None:
    """Keep what is in a volume now, under a name; print the name.

    Instances that run with it are held still meanwhile. Without a name it is called snap0, snap1 and so on.
    """
    click.echo(
        invocation.engine.volume_snapshots(invocation.engine.volumes.get(name))
        .create(snapshot, description=description)
        .name
    )


@group.command("ls", cls=Verb, examples=("cloison volume snapshot ls data",))
@_volume
@as_json
@pass_invocation
def _ls(invocation: Invocation, name: str, *, as_json: bool) -> None:
    """List the snapshots of a volume, the oldest first."""
    known = invocation.engine.volume_snapshots(invocation.engine.volumes.get(name)).list()
    found = [each.info for each in known]
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    rows = [
        (
            each.name,
            each.created,
            ", ".join(each.was_running) or "-",
            each.description,
        )
        for each in found
    ]
    header = ("NAME", "CREATED", "WAS IN USE BY", "DESCRIPTION")
    click.echo(aligned(header, rows, is_bold=shows_colours(sys.stdout)), nl=False)


@group.command("restore", cls=Verb, examples=("cloison volume snapshot restore data before-upgrade",))
@_volume
@click.argument("snapshot")
@pass_invocation
def _restore(invocation: Invocation, name: str, snapshot: str) -> None:
    """Have in a volume what was in it then.

    What is in it now goes, unless you make a snapshot of that first. No instance may run with it meanwhile.
    """
    invocation.engine.volume_snapshots(invocation.engine.volumes.get(name)).restore(snapshot)


@group.command("delete", cls=Verb, examples=("cloison volume snapshot delete data before-upgrade",))
@_volume
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT...")
@pass_invocation
def _delete(invocation: Invocation, name: str, snapshots: tuple[str, ...]) -> int:
    """Delete snapshots of a volume."""
    volume = invocation.engine.volumes.get(name)
    return for_each(snapshots, invocation.engine.volume_snapshots(volume).delete)
