"""`cloison exec`."""

import os
from typing import Any

import click

from cloison.cli import calls
from cloison.cli.invocation import Invocation
from cloison.cli.verb import PayloadVerb, name_argument, pass_invocation, verbose


class ExecVerb(PayloadVerb):
    """What follows the name is the command, untouched; options may also stand between the name and `--`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, options_first(args))


def options_first(words: list[str]) -> list[str]:
    """`web -u root -- id` as `-u root web -- id`. A name does not begin with `-`; nor does, with options, a command."""
    if "--" not in words or words[0].startswith("-"):
        return words
    end = words.index("--")
    if end < 2 or not words[1].startswith("-"):
        return words
    return [*words[1:end], words[0], *words[end:]]


def _variables(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """`NAME=VALUE`; a NAME alone has the value that it has here."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text}: write NAME=VALUE")
        found.append((name, value if equals else os.environ.get(name, "")))
    return found


@click.command(
    cls=ExecVerb,
    context_settings={"allow_interspersed_args": False},
    examples=(
        "cloison exec web -- systemctl status",
        "cloison exec -u www-data -w /srv -e LANG=C web -- ls -l",
        "tar c . | cloison exec web -- tar x -C /srv",
    ),
)
@click.option("-t", "--tty", "wants_tty", flag_value=True, default=None, help="Give it a terminal.")
@click.option("-T", "--no-tty", "wants_tty", flag_value=False, help="Give it none: no byte is changed on its way.")
@click.option("-i", "--interactive", is_flag=True, expose_value=False, hidden=True)
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Run it as this user, by name or number.")
@click.option("-w", "--cwd", default="", metavar="DIR", help="Run it in this directory (default: /).")
@click.option(
    "-e",
    "--env",
    "variables",
    multiple=True,
    callback=_variables,
    metavar="NAME=VALUE",
    help="Set a variable of its environment; NAME alone passes ours on.",
)
@verbose
@name_argument
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@pass_invocation
def command(invocation: Invocation, /, name: str, words: tuple[str, ...], **options: Any) -> int:
    """Run a command inside an instance, on these streams.

    It gets a terminal when standard input and output are terminals. The exit code is 128+n for signal n, and where
    there is none: 127 when the command is not there, 126 when it cannot be executed, 125 when cloison failed.
    """
    return calls.execute(
        invocation,
        name,
        words[1:] if words[0] == "--" else words,
        wants_tty=options["wants_tty"],
        env=dict(options["variables"]),
        cwd=options["cwd"],
        user=options["user"],
    )
