"""What the commands that change a configuration have in common: what they change, and what waits for the next start."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cloison.base.errors import Usage
from cloison.cli.invocation import Invocation

if TYPE_CHECKING:
    from cloison.engine.results import Change

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--live", is_flag=True, help="Only what runs, until it stops; what is stored stays as it is."),
    click.option("--next-start", is_flag=True, help="Only what is stored; what runs stays as it is."),
)


def scoped(function: F) -> F:
    """Adds --live and --next-start, which the function gets as one `scope`."""

    @wraps(function)
    def call(*args: Any, live: bool, next_start: bool, **words: Any) -> Any:
        if live and next_start:
            raise Usage("--live and --next-start exclude each other", hint="without either, both are changed")
        return function(*args, scope="live" if live else "next-start" if next_start else "both", **words)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call  # type: ignore[return-value]  # the same but for the options


def say_what_waits(invocation: Invocation, name: str, change: "Change") -> None:
    """Tell which keys are not in force yet."""
    if change.at_next_start and not invocation.is_quiet:
        click.echo(f"at the next start of {name}: {', '.join(change.at_next_start)}")


def when(*, stored: bool, in_force: bool) -> str:
    """Whether something that may be stored and in force is there now, in words."""
    if in_force:
        return "now" if stored else "until it stops"
    return "when it runs"
