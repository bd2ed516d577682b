"""`cloison login`."""

import sys

import click

from cloison.base.errors import Usage
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation

tls_verify = click.option(
    "--tls-verify/--no-tls-verify",
    default=True,
    help="Without it, plain HTTP and any certificate will do, this once.",
)


@click.command(
    cls=Verb,
    examples=(
        "cloison login registry.example.org",
        "cloison login --username ana --password-stdin registry.example.org",
    ),
)
@click.argument("registry", default="docker.io")
@click.option("-u", "--username", metavar="NAME", help="Else it is asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@tls_verify
@pass_invocation
def command(
    invocation: Invocation, registry: str, username: str | None, *, password_stdin: bool, tls_verify: bool
) -> None:
    """Keep a user and password for a registry (default: docker.io).

    They are kept where Docker, Podman and skopeo look for them: in ~/.docker/config.json, or in the program that it
    names for that. The registry is asked first whether it takes them.
    """
    if password_stdin:
        if not username:
            raise Usage(
                "login: --password-stdin needs --username", hint="`cloison login --help` shows how it is written"
            )
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif not sys.stdin.isatty():
        raise Usage("login: there is no terminal to ask for a password at", hint="use --username and --password-stdin")
    else:
        username = username or click.prompt("User", err=True)
        password = click.prompt("Password", hide_input=True, err=True)
    if not password:
        raise Usage("login: the password is empty", hint="nothing was kept")
    where = invocation.engine.servers.login(registry, username or "", password, is_insecure=not tls_verify)
    invocation.note(f"logged in to {registry}; kept in {where}")
