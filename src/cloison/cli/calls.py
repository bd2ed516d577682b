"""The calls that have two ways to them: the whole command line, and the short one of `cloison.cli.quick`.

So nothing here may import click.
"""

import os
from collections.abc import Mapping, Sequence

from cloison.cli.invocation import Invocation

NO_VARIABLES: Mapping[str, str] = {}


def start(invocation: Invocation, names: Sequence[str]) -> int:
    """Start each instance."""
    return invocation.each(names, lambda instance: instance.start(watch=invocation.watch()))


def stop(invocation: Invocation, names: Sequence[str], *, timeout_s: float | None = None, force: bool = False) -> int:
    """Stop all of them at the same time."""
    return invocation.each_at_once(names, lambda instance: instance.stop(timeout_s=timeout_s, force=force))


def execute(
    invocation: Invocation,
    name: str,
    argv: Sequence[str],
    *,
    wants_tty: bool | None = None,
    env: Mapping[str, str] = NO_VARIABLES,
    cwd: str = "",
    user: str = "",
) -> int:
    """Run a command inside; gives its exit code. None for `wants_tty` looks at our own streams."""
    return invocation.get(name).exec_here(
        argv,
        tty=os.isatty(0) and os.isatty(1) if wants_tty is None else wants_tty,
        env=env,
        cwd=cwd,
        user=user,
        watch=invocation.watch(),
    )
