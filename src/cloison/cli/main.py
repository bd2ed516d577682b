"""The entry point of `cloison`: run one command, say what went wrong, exit.

This is the only module that exits, and it does so at once: what an interpreter tidies up on its way out is memory, and
takes longer than the start of a container. For the same reason the garbage collector rests: a command is over before
it would find anything.
"""

import gc
import os
import sys
from typing import NoReturn

COMPLETE_VARIABLE = "_CLOISON_COMPLETE"  # in which a shell's completion asks its question
SIGINT, SIGPIPE = 2, 13


def main() -> NoReturn:
    """Run the command of `sys.argv` and exit with its code."""
    gc.disable()
    open_streams()
    _import_msgspec()
    os._exit(run(sys.argv[1:]))


def open_streams() -> None:
    """Give a caller's closed streams to the null device: or the next file that is opened would be taken for one."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _import_msgspec() -> None:
    """msgspec asks typing_extensions, where it is installed, for what `typing` has as well since Python 3.11, and its
    import takes longer than the start of a container: msgspec is told that there is none. In a command alone: a program
    that imports cloison may have types of its own."""
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]
    if "typing_extensions" not in modules:
        modules["typing_extensions"] = None  # importlib: `import` raises ModuleNotFoundError where it finds None
        import msgspec  # noqa: F401

        del modules["typing_extensions"]


def run(words: list[str]) -> int:
    """Run one command; gives its exit code. Every error ends here, in words on stderr."""
    try:
        code = _call(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 128 + SIGINT
    except BrokenPipeError:
        return 128 + SIGPIPE  # who read our output has heard enough
    except Exception as problem:
        from cloison.cli.complaints import complain

        return complain(problem)


def _call(words: list[str]) -> int:
    from cloison.cli.quick import understood

    quick = understood(words)
    if quick is not None and COMPLETE_VARIABLE not in os.environ:
        return quick()
    return _call_by_click(words)


def _call_by_click(words: list[str]) -> int:
    import click

    from cloison.cli.group import cloison
    from cloison.cli.usage import asks_for_help, usage

    if os.environ.get(COMPLETE_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(cloison, {}, "cloison", COMPLETE_VARIABLE, os.environ[COMPLETE_VARIABLE])
    try:
        with cloison.make_context("cloison", words) as context:
            return cloison.invoke(context) or 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        return 128 + SIGINT
    except click.ClickException as problem:
        if isinstance(problem, click.UsageError) and problem.ctx and asks_for_help(problem):
            sys.stderr.write(problem.ctx.get_help() + "\n")
            return usage(problem).exit_code
        raise usage(problem) from None
