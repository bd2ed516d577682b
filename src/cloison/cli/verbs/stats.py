"""`cloison stats`."""

import click

from cloison.cli import completing, statistics
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation, seconds

EVERY_S = "2s"
MIN_S = 0.1


def _interval(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    every_s = seconds(context, parameter, text)
    if every_s is not None and every_s < MIN_S:
        raise click.BadParameter(f"write {MIN_S:g} s or more", context, parameter)
    return every_s


@click.command(
    cls=Verb,
    examples=(
        "cloison stats",
        "cloison stats web db --json",
        "cloison stats --watch",
        "cloison stats web --watch=10s > usage.txt",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.instances)
@click.option("-a", "--all", "shows_all", is_flag=True, help="Show those that are stopped, too.")
@click.option(
    "-w",
    "--watch",
    "every_s",
    is_flag=False,
    flag_value=EVERY_S,
    callback=_interval,
    metavar="[=TIME]",
    help=f"Look again every so often (default: {EVERY_S}), until q or Ctrl-C.",
)
@as_json
@pass_invocation
def command(
    invocation: Invocation, names: tuple[str, ...], *, shows_all: bool, every_s: float | None, as_json: bool
) -> int:
    """Show what instances use: those NAMEd, or all that are up.

    CPU is that of one CPU since the start, or since the last look. What was read is booked into the ledger, see
    `cloison ledger`.
    """
    return statistics.show(invocation, names, shows_all=shows_all, as_json=as_json, every_s=every_s)
