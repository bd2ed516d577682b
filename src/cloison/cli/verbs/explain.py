"""`cloison explain`."""

import click

from cloison.base.errors import Usage
from cloison.cli.completing import instances
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation


@click.command(
    cls=Verb,
    context_settings={"allow_interspersed_args": False},
    examples=("cloison explain web", "cloison explain --json web", "cloison explain exec web -- ps"),
)
@as_json
@click.argument("words", nargs=-1, required=True, metavar="[exec] NAME [-- COMMAND...]", shell_complete=instances)
@pass_invocation
def command(invocation: Invocation, words: tuple[str, ...], *, as_json: bool) -> None:
    """Show every step of a start, or of an exec, in its order.

    Nothing is touched. Each step is one operation of the kernel, with the page that documents it. In front are the
    plans of the networks that the instance is on, which stay up; at the end the steps that take everything back,
    whatever happens.
    """
    import msgspec

    from cloison.engine import explaining

    name, argv, as_json = _understood(words, as_json=as_json)
    instance = invocation.get(name)
    plan = instance.explain_exec(argv) if argv else instance.explain()
    networks = () if argv else explaining.networks(invocation.engine, instance)
    if as_json:
        found = explaining.values(plan) | {"networks": [explaining.values(each) for each in networks]}
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        click.echo("\n".join(explaining.text(each) for each in (*networks, plan)), nl=False)


def _understood(words: tuple[str, ...], *, as_json: bool) -> tuple[str, tuple[str, ...], bool]:
    """The instance, the command of an exec, and whether JSON is asked for, which may also stand behind the name."""
    own, _, _ = _split(words)
    rest = words[len(own) :]
    if "--json" in own:
        as_json, own = True, tuple(word for word in own if word != "--json")
    if own[:1] == ("exec",) and len(own) > 1:
        argv = rest[1:] if rest else own[2:]
        if not argv:
            raise Usage("explain exec: no command", hint=f"cloison explain exec {own[1]} -- ps")
        return own[1], argv, as_json
    if len(own) != 1 or rest:
        raise Usage("explain: write one name", hint="`cloison explain --help` shows how it is written")
    return own[0], (), as_json


def _split(words: tuple[str, ...]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], "--", words[at + 1 :]
