"""`cloison ledger`: what was consumed, and by whom."""

import sys
import time
from typing import TYPE_CHECKING

import click

from cloison.base.errors import Invalid, Usage
from cloison.cli import moments
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation

if TYPE_CHECKING:
    from cloison.spec.tariff import Tariff


@click.group("ledger")
def command() -> None:
    """Say what was consumed, hour by hour, deleted instances included."""


@command.command("sample", cls=Verb, examples=("cloison ledger sample",))
@pass_invocation
def _sample(invocation: Invocation) -> None:
    """Book what every instance has consumed until now, its disk space too.

    For a timer: every five minutes, say. What runs in between is counted as well; the more often memory and disk are
    looked at, the closer their byte-hours are.
    """
    number = invocation.engine.sample()
    invocation.note(f"{number} {'instance' if number == 1 else 'instances'}")


@command.command(
    "report",
    cls=Verb,
    examples=(
        "cloison ledger report",
        "cloison ledger report --from 2026-11-01 --to 2026-12-01 --by project --csv",
        "cloison ledger report --from -7d --tariff /etc/cloison/tariff.toml",
    ),
)
@click.option("--from", "begin", metavar="TIME", help="Begin here (default: with this month).")
@click.option("--to", "end", metavar="TIME", default="now", help="End before this (default: now).")
@click.option(
    "--by",
    type=click.Choice(["instance", "project"]),
    default="instance",
    help="What a line stands for.",
    show_default=True,
)
@click.option("--tariff", "path", metavar="FILE", help="Say what it costs: a TOML file with prices.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, in whole units.")
@as_json
@pass_invocation
def _report(
    invocation: Invocation, begin: str | None, end: str, by: str, path: str | None, *, as_csv: bool, as_json: bool
) -> None:
    """Say who consumed what between two times.

    TIME is a day (2026-11-01, which begins at midnight in UTC), a time of RFC 3339, or how long ago (-7d). The ledger
    counts hours: one that has begun is counted whole.
    """
    if as_csv and as_json:
        raise Usage("ledger report: --csv and --json cannot be had together")
    from cloison.cli import bills

    now_ns = time.time_ns()
    begin_ns = moments.parse(begin, key="--from", now_ns=now_ns) if begin else moments.first_of_month(now_ns)
    end_ns = moments.parse(end, key="--to", now_ns=now_ns)
    report = invocation.engine.ledger(begin_ns, end_ns, by=by, tariff=_tariff(path) if path else None)
    show = bills.as_csv if as_csv else bills.as_json if as_json else bills.as_table
    sys.stdout.write(show(report))


def _tariff(path: str) -> "Tariff":
    from cloison.spec import tariff

    try:
        with open(path, encoding="utf-8") as file:
            return tariff.parse(file.read(), where=path)
    except OSError as problem:
        raise Invalid(f"the tariff {path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"the tariff {path} is no text in UTF-8") from None
