"""`cloison volume`: files that outlive instances, and that several may have at once."""

import sys
from typing import TYPE_CHECKING

import click

from cloison.base import units
from cloison.cli import completing
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, listed, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation
from cloison.cli.verbs import volume_snapshot

if TYPE_CHECKING:
    from cloison.engine.volumes import VolumeInfo

_volume = click.argument("name", metavar="[POOL/]VOLUME", shell_complete=completing.volumes)


def _bytes(_context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    return 0 if text in ("none", "") else units.parse_size(text, key=parameter.opts[-1])


_size = click.option("--size", "size_bytes", callback=_bytes, metavar="SIZE", help="The most that it holds, or none.")
_inodes = click.option("--inodes", type=click.IntRange(0), metavar="N", help="The most files in it; 0 for no limit.")
_description = click.option("--description", metavar="TEXT", help="What it is for.")


@click.group("volume")
def command() -> None:
    """Make, list, change and remove volumes."""


@command.command(
    "create", cls=Verb, examples=("cloison volume create data", "cloison volume create fast/db --size 10G")
)
@_size
@_inodes
@_description
@_volume
@pass_invocation
def _create(
    invocation: Invocation, name: str, size_bytes: int | None, inodes: int | None, description: str | None
) -> None:
    """Make a volume, empty and of root; in the storage pool `default`, or in POOL.

    It is mounted with `cloison mount add`, in as many instances as you like.
    """
    pool, _slash, own = name.rpartition("/")
    invocation.engine.volumes.create(
        own, pool or "default", size_bytes=size_bytes, inodes=inodes, description=description or ""
    )


@command.command("ls", cls=Verb, examples=("cloison volume ls", "cloison volume ls --json"))
@as_json
@pass_invocation
def _ls(invocation: Invocation, *, as_json: bool) -> None:
    """List all volumes, and who uses them."""
    volumes = invocation.engine.volumes
    found = [volumes.info(volume) for volume in volumes.all()]
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    header = ("POOL", "VOLUME", "SIZE", "CREATED", "USED BY")
    rows = [(each.pool, each.name, _limit(each), each.created, ", ".join(each.used_by) or "-") for each in found]
    click.echo(aligned(header, rows, is_bold=shows_colours(sys.stdout)), nl=False)


@command.command("info", cls=Verb, examples=("cloison volume info data",))
@as_json
@_volume
@pass_invocation
def _info(invocation: Invocation, name: str, *, as_json: bool) -> None:
    """Show a volume, with what it takes of its pool."""
    volumes = invocation.engine.volumes
    volume = volumes.get(name)
    found = volumes.info(volume, with_disk=True)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    click.echo(found.name)
    pairs = [("pool", found.pool), ("created", found.created), ("size", _limit(found))]
    pairs += [("inodes", str(found.inodes))] if found.inodes is not None else []
    pairs += [("used", units.format_size(found.used_bytes or 0)), ("used by", ", ".join(found.used_by) or "-")]
    pairs += [("for", found.description)] if found.description else []
    pairs += [("files", volumes.path(found.pool, found.name, is_shown=False))]
    click.echo(listed(pairs), nl=False)


def _limit(found: "VolumeInfo") -> str:
    return "-" if found.size_bytes is None else units.format_size(found.size_bytes)


@command.command(
    "set", cls=Verb, examples=("cloison volume set data --size 20G", "cloison volume set data --size none")
)
@_size
@_inodes
@_description
@_volume
@pass_invocation
def _set(
    invocation: Invocation, name: str, size_bytes: int | None, inodes: int | None, description: str | None
) -> None:
    """Change a volume's limits, also while it is in use, or what it is for."""
    volumes = invocation.engine.volumes
    volumes.set(volumes.get(name), size_bytes=size_bytes, inodes=inodes, description=description)


@command.command("rename", cls=Verb, examples=("cloison volume rename data archive",))
@_volume
@click.argument("new_name")
@pass_invocation
def _rename(invocation: Invocation, name: str, new_name: str) -> None:
    """Give a volume that nobody uses another name."""
    volumes = invocation.engine.volumes
    volumes.rename(volumes.get(name), new_name)


@command.command("rm", cls=Verb, examples=("cloison volume rm data",))
@click.argument("names", metavar="[POOL/]VOLUME...", nargs=-1, required=True, shell_complete=completing.volumes)
@pass_invocation
def _rm(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Remove volumes that nobody uses, with all that is in them."""
    volumes = invocation.engine.volumes
    return for_each(names, lambda name: volumes.remove(volumes.get(name)))


command.add_command(volume_snapshot.group)
