"""`cloison copy`."""

import click

from cloison.cli import calls, completing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation


@click.command(
    cls=Verb,
    examples=(
        "cloison copy web web2",
        "cloison copy web/before-upgrade trial --ephemeral",
        "cloison copy web small --set limits.memory=128M --instance-only",
    ),
)
@click.argument("source", metavar="NAME[/SNAPSHOT]", shell_complete=completing.instances)
@click.argument("new")
@click.option(
    "-c",
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=completing.assignments,
    help="Configure the copy; `cloison set --help` lists the keys.",
)
@click.option("--instance-only", is_flag=True, help="Leave its snapshots behind.")
@click.option("--ephemeral", is_flag=True, help="Delete the copy when it ends.")
@click.option("-s", "--storage", default="", metavar="POOL", help="Where its files are to be (default: beside).")
@pass_invocation
def command(
    invocation: Invocation,
    source: str,
    new: str,
    settings: tuple[str, ...],
    storage: str,
    *,
    instance_only: bool,
    ephemeral: bool,
) -> None:
    """Make another instance of what one is, or was in a snapshot.

    It gets addresses, user ids and a machine id of its own. What only one can have stays behind: ports of the host,
    and addresses that were written down.
    """
    calls.copy(
        invocation,
        source,
        new,
        config=(*(("boot.ephemeral=true",) if ephemeral else ()), *settings),
        is_alone=instance_only,
        storage=storage,
    )
