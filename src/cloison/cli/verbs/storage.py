"""`cloison storage`: the pools that the files of instances are in."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cloison.cli import completing
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation

if TYPE_CHECKING:
    from cloison.engine.results import PoolInfo

_pool_argument = click.argument("pool", shell_complete=completing.pools)


@click.group("storage")
def command() -> None:
    """Make, look at and remove storage pools."""


@command.command(
    "create",
    cls=Verb,
    examples=(
        "cloison storage create fast --source /mnt/nvme",
        "cloison storage create snaps --driver btrfs --size 100G",
        "cloison storage create disks --driver loop --size 20G user_quotas=true",
    ),
)
@click.argument("pool")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option(
    "-d", "--driver", default="overlay", metavar="DRIVER", help="overlay (default), dir, btrfs, loop, lvm or zfs."
)
@click.option(
    "--source",
    default="",
    metavar="PATH",
    help="A directory to keep it in; for btrfs a disk, too; for lvm GROUP/THINPOOL, for zfs a dataset.",
)
@click.option(
    "--size",
    default="",
    metavar="SIZE",
    help="btrfs: that of the file that it is made in; loop, lvm: what an instance has without limits.disk (10G).",
)
@pass_invocation
def _create(invocation: Invocation, pool: str, options: tuple[str, ...], driver: str, source: str, size: str) -> None:
    """Make a storage pool; `create --storage POOL` puts an instance there.

    Without --source it is in the data directory. A disk with something else than a btrfs on it is refused.
    """
    invocation.engine.pools.create(pool, driver, source=source, size=size, options=options)


@command.command("ls", cls=Verb, examples=("cloison storage ls", "cloison storage ls --json"))
@as_json
@pass_invocation
def _ls(invocation: Invocation, *, as_json: bool) -> None:
    """List the storage pools."""
    pools = invocation.engine.pools
    found = [pools.info(pool.name) for pool in pools.all()]
    if as_json:
        _show_json(found)
        return
    header = ("NAME", "DRIVER", "FREE", "SIZE", "INSTANCES", "PATH")
    click.echo(aligned(header, [_row(info) for info in found], is_bold=shows_colours(sys.stdout)), nl=False)


def _row(info: "PoolInfo") -> tuple[str, ...]:
    return (
        info.name,
        info.driver,
        _size(info.free_bytes),
        _size(info.total_bytes),
        str(len(info.instances)),
        info.path,
    )


@command.command("info", cls=Verb, examples=("cloison storage info default", "cloison storage info fast --json"))
@_pool_argument
@as_json
@pass_invocation
def _info(invocation: Invocation, pool: str, *, as_json: bool) -> None:
    """Show what is in a storage pool, and what it can limit."""
    info = invocation.engine.pools.info(pool)
    if as_json:
        _show_json(info)
        return
    lines = [
        ("Name", info.name),
        ("Driver", info.driver),
        ("Path", info.path),
        *((f"Option {key}", value) for key, value in info.options.items()),
        ("Space", f"{_size(info.free_bytes)} free of {_size(info.total_bytes)}"),
        ("Trees", str(info.trees)),
        ("Instances", ", ".join(info.instances) or "-"),
        ("limits.disk", info.quota or "possible"),
        ("limits.inodes", info.inode_quota or "possible"),
    ]
    for name, value in lines:
        click.echo(f"{name + ':':<15}{value}")


@command.command("set", cls=Verb, examples=("cloison storage set disks size=20G",))
@_pool_argument
@click.argument("options", nargs=-1, required=True, metavar="OPTION=VALUE...")
@pass_invocation
def _set(invocation: Invocation, pool: str, options: tuple[str, ...]) -> None:
    """Change options of a storage pool, for what is made in it from now on."""
    invocation.engine.pools.set(pool, *options)


@command.command("rm", cls=Verb, examples=("cloison storage rm fast",))
@click.argument("pools", nargs=-1, required=True, metavar="POOL...", shell_complete=completing.pools)
@pass_invocation
def _rm(invocation: Invocation, pools: tuple[str, ...]) -> int:
    """Remove storage pools that nothing is in. A directory or a disk that was given stays."""
    return for_each(pools, invocation.engine.pools.remove)


def _size(size_bytes: int | None) -> str:
    from cloison.base.units import format_size

    return "-" if size_bytes is None else format_size(size_bytes)


def _show_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)))
