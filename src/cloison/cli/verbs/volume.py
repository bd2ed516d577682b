"""`cloison volume`: files that outlive instances, and that several may have at once."""

import os
import sys
from typing import TYPE_CHECKING

import click

from cloison.base import units
from cloison.base.errors import Exists, Usage
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


@command.command(
    "export",
    cls=Verb,
    examples=(
        "cloison volume export data data.volume",
        "cloison volume export data - | ssh other cloison volume import - data",
    ),
)
@_volume
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--snapshot", default="", metavar="SNAPSHOT", help="What was in it then.")
@click.option("-f", "--force", is_flag=True, help="Write over a file that there is.")
@pass_invocation
def _export(invocation: Invocation, name: str, file: str, snapshot: str, *, force: bool) -> None:
    """Write what is in a volume as one stream; - is the standard output.

    Instances that run with it are held still for a moment.
    """
    from cloison.cli.host_files import write, write_whole
    from cloison.engine import volume_transfer

    if file == "-" and sys.stdout.isatty():
        raise Usage("this is no terminal's matter", hint="write it into a file, or into a pipe")
    if file != "-" and not force and os.path.exists(file):
        raise Exists(f"there is a file {file!r} already", hint="choose another name, or use --force", path=file)
    volume = invocation.engine.volumes.get(name)
    with volume_transfer.exported(invocation.engine, volume, snapshot) as chunks:
        if file == "-":
            write(1, chunks)
        else:
            write_whole(file, chunks, 0o600)


@command.command("import", cls=Verb, examples=("cloison volume import data.volume fast/data --size 10G",))
@click.argument("file", type=click.Path(allow_dash=True))
@_volume
@_size
@_inodes
@pass_invocation
def _import(invocation: Invocation, file: str, name: str, size_bytes: int | None, inodes: int | None) -> None:
    """Make a volume of what `volume export` wrote, in a pool of any driver.

    Who wrote the file decides about its files: import only what you trust.
    """
    from cloison.cli.verbs.import_ import opened, read
    from cloison.engine import volume_transfer

    pool, _slash, own = name.rpartition("/")
    with opened(file) as fd:
        volume_transfer.imported(
            invocation.engine, read(fd), own, pool or "default", size_bytes=size_bytes, inodes=inodes
        )


command.add_command(volume_snapshot.group)
