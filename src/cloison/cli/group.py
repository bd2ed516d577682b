"""`cloison` itself: the options before the command's name, and the table of commands.

A command is a module of `cloison.cli.verbs` with a `command` in it, imported when that command is called.
"""

from importlib import import_module

import click

from cloison.base.errors import Usage
from cloison.cli.invocation import Invocation

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Instances",
        (
            "launch",
            "create",
            "start",
            "stop",
            "restart",
            "kill",
            "freeze",
            "unfreeze",
            "wait",
            "copy",
            "rename",
            "rebuild",
            "set",
            "get",
            "delete",
        ),
    ),
    ("Inside", ("exec", "shell", "console", "file")),
    ("Look", ("ls", "info", "stats", "top", "logs", "explain", "events")),
    ("Accounts", ("ledger",)),
    ("Snapshots", ("snapshot", "export", "import", "publish")),
    ("Networks", ("network", "nic", "port")),
    ("Storage", ("storage", "volume", "mount")),
    ("Images", ("image", "login", "logout")),
    ("Host", ("check", "repair", "completion")),
)
ALIASES = {"list": "ls", "rm": "delete"}
HIDDEN = {
    "_ended": "ended",
    "_oom": "oom",
    "_reboot": "reboot",
}  # what cloison says to itself, and the module in which it listens
MODULES = {**HIDDEN, "import": "import_"}  # where a command is, that is not in the module of its name
_ALL = tuple(name for _, names in SECTIONS for name in names)


class LazyGroup(click.Group):
    """Imports the one command that is called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_ALL)

    def get_command(self, _context: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in _ALL and name not in HIDDEN:
            return None
        command: click.Command = import_module(f"cloison.cli.verbs.{MODULES.get(name, name)}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(context, args[0]) is None and not args[0].startswith("-"):
            raise Usage(f"there is no command {args[0]!r}{_nearest(args[0])}", hint="`cloison --help` lists them all")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in SECTIONS:
            rows = [(name, self._summary(context, name)) for name in names]
            with formatter.section(section):
                formatter.write_dl(rows, col_max=12)

    def _summary(self, context: click.Context, name: str) -> str:
        command = self.get_command(context, name)
        return command.get_short_help_str(limit=80) if command else ""


def _nearest(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, [*_ALL, *ALIASES], n=1)
    return f"; {near[0]!r} is one" if near else ""


def _show_version(context: click.Context, _parameter: click.Parameter, is_wanted: bool) -> None:  # noqa: FBT001
    if is_wanted and not context.resilient_parsing:
        from cloison import __version__

        click.echo(f"cloison {__version__}")
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--root", metavar="DIR", help="Keep everything below DIR (default: $CLOISON_ROOT, else the host's own).")
@click.option("-v", "--verbose", is_flag=True, help="Show every step that is carried out, and when.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def cloison(context: click.Context, root: str | None, *, verbose: bool, quiet: bool) -> None:
    """Cut one Linux machine into many: containers that boot a whole system, and what belongs to them.

    `cloison COMMAND --help` explains a command, with examples.
    """
    context.obj = Invocation(root, is_verbose=verbose, is_quiet=quiet)
