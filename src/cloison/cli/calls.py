"""The calls that have two ways to them: the whole command line, and the short one of `cloison.cli.quick`.

So nothing here may import click.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cloison.cli.invocation import Invocation

if TYPE_CHECKING:
    from cloison.spec.config import Config

NO_VARIABLES: Mapping[str, str] = {}


def start(invocation: Invocation, names: Sequence[str]) -> int:
    """Start each instance."""
    return invocation.each(names, lambda instance: instance.start(watch=invocation.watch()))


def stop(invocation: Invocation, names: Sequence[str], *, timeout_s: float | None = None, force: bool = False) -> int:
    """Stop all of them at the same time."""
    return invocation.each_at_once(names, lambda instance: instance.stop(timeout_s=timeout_s, force=force))


def delete(invocation: Invocation, names: Sequence[str], *, force: bool = False) -> int:
    """Delete each instance with all its files."""
    return invocation.each(names, lambda instance: instance.delete(force=force))


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


def create(
    invocation: Invocation,
    image: str,
    name: str,
    *,
    config: Sequence[str] = (),
    options: Mapping[str, str] = NO_VARIABLES,
    storage: str = "default",
) -> int:
    """Make an instance, and print its name."""
    with invocation.progress(obtaining(image)) as progress:
        made = invocation.engine.create(image, name, config=config, options=options, storage=storage, progress=progress)
    return _printed(made.name)


def obtaining(image: str) -> str:
    """What is done to get an image that is not there yet, for the progress."""
    return f"pulling {image}" if ":" in image else f"building {image}"


def keep(
    invocation: Invocation, name: str, snapshot: str = "", *, description: str = "", expires_s: float | None = None
) -> int:
    """Make a snapshot, and print its name."""
    with invocation.progress(f"keeping {name}") as progress:
        made = invocation.get(name).snapshots.create(
            snapshot, description=description, expires_s=expires_s, progress=progress
        )
    return _printed(made.name)


def copy(
    invocation: Invocation,
    source: str,
    new: str,
    *,
    config: Sequence[str] = (),
    is_alone: bool = False,
    storage: str = "",
) -> int:
    """Copy an instance, print the name of the copy, and say what only one can have."""
    of = invocation.get(source.partition("/")[0])
    with invocation.progress(f"copying {source}") as progress:
        made = invocation.engine.copy(source, new, config=config, is_alone=is_alone, storage=storage, progress=progress)
    if "/" not in source and not config:
        left = sorted(set(_keys(of.config)) - set(_keys(made.config)))
        if left:
            invocation.note(f"not copied, as only one can have it: {', '.join(left)}")
    return _printed(made.name)


def _keys(config: "Config") -> list[str]:
    from cloison.spec.config import items

    return [key for key, _value in items(config)]


def _printed(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return 0
