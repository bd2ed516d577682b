"""`cloison check`."""

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from cloison.base.errors import Host
from cloison.cli.invocation import Invocation
from cloison.cli.table import Ink, painted, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation

if TYPE_CHECKING:
    from cloison.spec.finding import Finding

COLOURS = {"ok": Ink.GREEN, "limited": Ink.YELLOW, "missing": Ink.RED}


@click.command(cls=Verb, examples=("cloison check", "cloison check --json"))
@as_json
@pass_invocation
def command(invocation: Invocation, *, as_json: bool) -> int:
    """Say what this host offers and lacks, and what to do about it.

    The exit code is 6 when something is missing without which no instance can start.
    """
    found = invocation.engine.check()
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        click.echo(report(found, is_coloured=shows_colours(sys.stdout)), nl=False)
    is_usable = all(finding.status != "missing" or finding.needed != "required" for finding in found)
    return 0 if is_usable else Host.exit_code


def report(found: "Sequence[Finding]", *, is_coloured: bool) -> str:
    """The findings by topic; one that is not ok with what it is needed for, and what to do."""
    topics = []
    for topic, grouped in groupby(found, key=lambda finding: finding.topic):
        findings = list(grouped)
        width = max(len(finding.name) for finding in findings)
        topics.append(
            "".join([f"{topic}\n", *(_lines(finding, width, is_coloured=is_coloured) for finding in findings)])
        )
    return "\n".join(topics)


def _lines(finding: "Finding", width: int, *, is_coloured: bool) -> str:
    status = painted(f"{finding.status:7}", COLOURS[finding.status] if is_coloured else None)
    line = f"  {status}  {finding.name:{width}}  {finding.detail}\n"
    if finding.status == "ok":
        return line
    return f"{line}{'':11}{finding.needed}: {finding.hint}\n" if finding.hint else f"{line}{'':11}{finding.needed}\n"
