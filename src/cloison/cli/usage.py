"""What click says about wrong words, in the shape of our own errors."""

import click

from cloison.base.errors import Usage


def usage(problem: click.ClickException) -> Usage:
    """One sentence that begins with the command, and where to read how it is written."""
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    words = " ".join(problem.format_message().split()).removesuffix(".")
    said = words[:1].lower() + words[1:]
    command = context.command_path if context else "cloison"
    where = command.removeprefix("cloison").strip()
    return Usage(f"{where}: {said}" if where else said, hint=f"`{command} --help` shows how it is written")


def asks_for_help(problem: click.ClickException) -> bool:
    """Whether the words ended too early: since click 8.2 that is an error of its own."""
    return type(problem).__name__ == "NoArgsIsHelpError"
