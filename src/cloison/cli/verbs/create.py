"""`cloison create`, and the words that it shares with `launch`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from cloison.base.errors import Invalid
from cloison.cli import calls, completing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation

F = TypeVar("F", bound=Callable[..., Any])
WHOLE = ("none", "empty", "host")  # these are no names of networks
SHORTCUTS = {"memory": "limits.memory", "cpus": "limits.cpus", "processes": "limits.processes"}
_OPTIONS = (
    click.argument("image", shell_complete=completing.images),
    click.argument("name", default="", required=False),
    click.option(
        "-c",
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=completing.assignments,
        help="Configure it; `cloison set --help` lists the keys.",
    ),
    click.option("-m", "--memory", metavar="SIZE", help="Short for --set limits.memory=SIZE."),
    click.option("--cpus", metavar="COUNT", help="Short for --set limits.cpus=COUNT."),
    click.option("--processes", metavar="COUNT", help="Short for --set limits.processes=COUNT."),
    click.option(
        "--network",
        "networks",
        multiple=True,
        metavar="NAME",
        shell_complete=completing.networks,
        help="The network that it is on, cloison0 unless one is named; several are for eth0, eth1 and so on. Or the "
        "host's own (host), a loopback alone (empty), nothing at all (none).",
    ),
    click.option(
        "-p",
        "--port",
        "ports",
        multiple=True,
        metavar="[ADDRESS:]PORT:PORT[/tcp|udp]",
        help="Forward a port of the host, the first, to one inside.",
    ),
    click.option(
        "-s",
        "--storage",
        default="default",
        metavar="POOL",
        shell_complete=completing.pools,
        help="The storage pool that its files are in; `cloison storage ls` lists them.",
    ),
    click.option("--privileged", is_flag=True, help="Root inside is root of the host."),
    click.option("--ephemeral", is_flag=True, help="Delete it when it ends, but for a reboot."),
    click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        metavar="NAME=VALUE",
        help="Choose an option of the image's template; `cloison image templates` lists them.",
    ),
)


class Wanted(msgspec.Struct, frozen=True):
    """What is to be created."""

    image: str
    name: str
    config: tuple[str, ...]
    options: dict[str, str]
    storage: str = "default"


def creating(function: F) -> F:
    """Adds the words that say what to create."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def wanted(image: str, name: str, words: Mapping[str, Any]) -> Wanted:
    """The options as the engine wants them; `--set` has the last word over its short forms."""
    config = [f"{key}={words[option]}" for option, key in SHORTCUTS.items() if words[option] is not None]
    for number, network in enumerate(words["networks"]):
        config.append(f"nics.eth{number}.{'type' if network in WHOLE else 'network'}={network}")
    if words["ports"]:
        from cloison.engine.nics import forwarded

        config += [forwarded(port) for port in words["ports"]]
    if words["privileged"]:
        config.append("security.privileged=true")
    if words["ephemeral"]:
        config.append("boot.ephemeral=true")
    return Wanted(image, name, (*config, *words["settings"]), dict(pairs(words["options"])), words["storage"])


def pairs(options: Iterable[str], word: str = "--option") -> Iterable[tuple[str, str]]:
    """The options of a template, or what follows another `word`, as name and value. Raises Invalid."""
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            hint = "`cloison image templates` lists the options" if word == "--option" else ""
            raise Invalid(f"{word} {option}: write NAME=VALUE", hint=hint)
        yield key, value


@click.command(
    cls=Verb,
    examples=(
        "cloison create debian/12 web",
        "cloison create busybox --memory 64M --cpus 0.5",
        "cloison create images:alpine/3.20 small",
        "cloison create docker://registry.example.org/tools/web:1.2 web",
        "cloison create debian/12 web --set env.LANG=C.UTF-8 --network lan --port 8080:80",
    ),
)
@creating
@pass_invocation
def command(invocation: Invocation, /, image: str, name: str, **words: Any) -> None:
    """Make an instance from an image; print its name.

    It is not started. An image that is not there yet is built by its template, or pulled from the server that its name
    begins with. Without NAME it gets one.
    """
    order = wanted(image, name, words)
    calls.create(
        invocation,
        order.image,
        order.name,
        config=order.config,
        options=order.options,
        storage=order.storage,
    )
