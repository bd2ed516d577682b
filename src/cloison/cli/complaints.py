"""Errors as people read them, on stderr:

cloison: cannot start 'web': user 'ana' owns 1000 subordinate ids, 65536 are needed
  hint: add 'ana:100000:65536' to /etc/subuid and /etc/subgid      [subid-range-too-small]
"""

import sys

import click

from cloison.base.errors import Bug, CloisonError, Usage


def complain(problem: BaseException) -> int:
    """Say what went wrong; gives the exit code that belongs to it."""
    if isinstance(problem, click.UsageError) and _asks_for_help(problem):
        sys.stderr.write(problem.ctx.get_help() + "\n" if problem.ctx else "")
        return Usage.exit_code
    known = _as_known(problem)
    if isinstance(known, Bug):
        _show_traceback(problem)
    sys.stderr.write(f"{sentence(known)}\n")
    return known.exit_code


def sentence(problem: CloisonError) -> str:
    """The error as text: what, what to do, and the code that scripts match on."""
    hint = f"\n  hint: {problem.hint}" if problem.hint else ""
    return f"cloison: {problem.sentence}{hint}      [{problem.code}]"


def _as_known(problem: BaseException) -> CloisonError:
    match problem:
        case CloisonError():
            return problem
        case click.ClickException():
            return _usage(problem)
        case _:
            return Bug(
                f"{type(problem).__name__}: {problem}",
                hint="this is a mistake in cloison: please report it, with the lines above",
            )


def _usage(problem: click.ClickException) -> Usage:
    """What click says, as one sentence in our shape."""
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    words = " ".join(problem.format_message().split()).removesuffix(".")
    command = context.command_path if context else "cloison"
    where = command.removeprefix("cloison").strip()
    said = words[:1].lower() + words[1:]
    return Usage(f"{where}: {said}" if where else said, hint=f"`{command} --help` shows how it is written")


def _asks_for_help(problem: click.UsageError) -> bool:
    """Whether the words ended too early: since click 8.2 that is an error of its own."""
    return type(problem).__name__ == "NoArgsIsHelpError"


def _show_traceback(problem: BaseException) -> None:
    import traceback

    traceback.print_exception(problem)
