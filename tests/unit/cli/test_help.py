from collections.abc import Iterator

import click
import pytest

from cloison.cli.group import ALIASES, SECTIONS, cloison
from cloison.cli.main import run
from cloison.cli.verb import Verb

NAMES = [name for _, names in SECTIONS for name in names]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command there is, with the words that call it."""
    context = click.Context(cloison)
    for name in NAMES:
        command = cloison.get_command(context, name)
        assert command is not None
        yield from within(name, command)


def within(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command, or those of a group."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    for inner, found in command.commands.items():
        yield from within(f"{words} {inner}", found)


COMMANDS = tuple(commands())


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_every_help_ends_with_an_example_of_the_command(words: str, command: click.Command) -> None:
    assert isinstance(command, Verb)
    assert command.examples
    aliases = [words, *(alias for alias, name in ALIASES.items() if name == words)]
    assert all(any(f"cloison {alias}" in example for alias in aliases) for example in command.examples)


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_the_examples_are_written_as_the_command_understands_them(words: str, command: click.Command) -> None:
    assert isinstance(command, Verb)
    for example in command.examples:
        typed = example.partition("cloison ")[2].split("   ")[0].split("|")[0].split(">")[0].split("&&")[0]
        arguments = typed.rstrip(") ").split()[len(words.split()) :]
        with click.Context(cloison, info_name="cloison") as context:
            context.obj = None
            command.make_context(words, arguments, parent=context)


@pytest.mark.parametrize("name", [*NAMES, *ALIASES])
def test_help_is_a_success(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: cloison ")


def test_the_list_of_commands_is_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.endswith(":") and line[0].isalpha()] == [
        "Options:",
        *(f"{section}:" for section, _ in SECTIONS),
    ]


def test_every_command_says_what_it_does_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    listed = capsys.readouterr().out.partition("Instances:")[2].splitlines()
    assert [line for line in listed if "..." in line or line.startswith("     ")] == []


def test_set_explains_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    from cloison.spec.config import KEYS

    run(["set", "--help"])
    shown = capsys.readouterr().out
    assert [key.name for key in KEYS if f"  {key.name}" not in shown] == []


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    from cloison import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"cloison {__version__}\n"
