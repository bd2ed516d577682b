"""`cloison launch`."""

from typing import Any

import click

from cloison.cli.calls import obtaining
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation, verbose
from cloison.cli.verbs.create import creating, wanted


@click.command(
    cls=Verb,
    examples=(
        "cloison launch debian/12 web",
        "cloison launch busybox box --memory 64M --network host",
        "cloison launch debian/12 web --set limits.cpus=1.5 --option packages=nginx",
    ),
)
@creating
@verbose
@pass_invocation
def command(invocation: Invocation, /, image: str, name: str, **words: Any) -> None:
    """Make an instance from an image, and start it; print its name.

    An image that is not there yet is built by its template, or pulled from the server that its name begins with.
    Without NAME it gets one. One that does not start is deleted again.
    """
    order = wanted(image, name, words)
    with invocation.progress(obtaining(order.image)) as progress:
        made = invocation.engine.launch(
            order.image,
            order.name,
            config=order.config,
            options=order.options,
            storage=order.storage,
            progress=progress,
            watch=invocation.watch(),
        )
    click.echo(made.name)
