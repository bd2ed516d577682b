"""Errors as people read them, on stderr, and the exit codes that belong to them:

cloison: cannot start 'web': user 'ana' owns 1000 subordinate ids, 65536 are needed
  hint: add 'ana:100000:65536' to /etc/subuid and /etc/subgid      [subid-range-too-small]
"""

import errno
import sys
from collections.abc import Callable

from cloison.base.errors import Bug, CloisonError, NoSpace

CLOISON_FAILED, CANNOT_EXECUTE, NOT_FOUND = 125, 126, 127  # where another code would be that of the payload


def complain(problem: BaseException) -> int:
    """Say what went wrong; gives the exit code that belongs to it."""
    known = _as_known(problem)
    if isinstance(known, Bug):
        _show_traceback(problem)
    sys.stderr.write(f"{sentence(known)}\n")
    return known.exit_code


def beside_payload(call: Callable[[], int]) -> int:
    """The exit code of a payload that `call` runs; whatever keeps it from that is told apart from the payload's own."""
    try:
        return call()
    except BrokenPipeError:
        raise
    except Exception as problem:
        complain(problem)
        code = problem.code if isinstance(problem, CloisonError) else ""
        return {"cannot-execute": CANNOT_EXECUTE, "program-not-found": NOT_FOUND}.get(code, CLOISON_FAILED)


def sentence(problem: CloisonError) -> str:
    """The error as text: what, what to do, and the code that scripts match on."""
    hint = f"\n  hint: {problem.hint}" if problem.hint else ""
    text = f"cloison: {problem.sentence}{hint}      [{problem.code}]"
    lines = text.split("\n")
    if not all(map(str.isprintable, lines)):
        from cloison.cli.table import printable

        lines = list(map(printable, lines))
    return "\n".join(lines)


def _as_known(problem: BaseException) -> CloisonError:
    if isinstance(problem, CloisonError):
        return problem
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC and problem.filename is None:
        return NoSpace(f"the output cannot be written: {problem.strerror}")
    return Bug(
        f"{type(problem).__name__}: {problem}",
        hint="this is a mistake in cloison: please report it, with the lines above",
    )


def _show_traceback(problem: BaseException) -> None:
    import traceback

    traceback.print_exception(problem)
