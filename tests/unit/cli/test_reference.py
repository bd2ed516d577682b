"""`docs/cli.md` says what `--help` says: `pytest --bless` rewrites its list of commands."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cloison.cli.group import ALIASES, SECTIONS, cloison
from cloison.cli.verb import Verb
from tests.source_tree import ROOT

PAGE = ROOT / "docs" / "cli.md"
BEGIN = "<!-- from here on: written by `pytest --bless tests/unit/cli/test_reference.py` -->\n"


def reference() -> str:
    """The commands, section by section, as Markdown."""
    settings = {**cloison.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(cloison, info_name="cloison", **settings)
    return "\n".join(
        f"## {section}\n\n" + "\n".join(text for name in names for text in entries(context, name))
        for section, names in SECTIONS
    )


def entries(context: click.Context, name: str) -> Iterator[str]:
    command = cloison.get_command(context, name)
    assert command is not None
    yield from within(name, command, click.Context(command, info_name=name, parent=context))


def within(words: str, command: click.Command, context: click.Context) -> Iterator[str]:
    """A command, or those of a group."""
    if not isinstance(command, click.Group):
        yield entry(words, command, context)
        return
    for word, found in command.commands.items():
        yield from within(f"{words} {word}", found, click.Context(found, info_name=word, parent=context))


def entry(words: str, command: click.Command, context: click.Context) -> str:
    """One command: how it is written, what it does, its options, examples."""
    assert isinstance(command, Verb)
    help_text = command.get_help(context).replace("Usage: ", "", 1)
    usage, _, rest = help_text.partition("\n\n")
    lines = rest.splitlines()
    at = next((i for i, line in enumerate(lines) if line.endswith(":") and line[0].isalpha()), len(lines))
    also = [f"`{alias}`" for alias, name in ALIASES.items() if name == words]
    prose = "\n".join(line.strip() for line in lines[:at]).strip() + (f"\n\nAlso: {', '.join(also)}." if also else "")
    block = "\n".join([" ".join(usage.split()), "", *lines[at:]]).strip()
    return f"### cloison {words}\n\n{prose}\n\n```\n{block}\n```\n"


def test_the_reference_says_what_the_commands_say(request: pytest.FixtureRequest) -> None:
    head, found, listed = PAGE.read_text().partition(BEGIN)
    assert found, f"{PAGE} has lost the line that begins its list"
    if request.config.getoption("--bless"):
        Path(PAGE).write_text(head + BEGIN + "\n" + reference())
        return
    assert listed.strip() == reference().strip()
