"""What the commands are made of: help with examples, and the options that several of them have."""

from typing import Any

import click

from cloison.base import units
from cloison.cli import completing
from cloison.cli.complaints import CLOISON_FAILED, beside_payload, complain
from cloison.cli.invocation import Invocation
from cloison.cli.usage import usage


class Verb(click.Command):
    """A command whose help ends with examples, written as they are typed."""

    def __init__(self, *args: Any, examples: tuple[str, ...], **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(context, formatter)
        if self.examples:
            with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class PayloadVerb(Verb):
    """A command that gives the exit code of what it runs; whatever keeps it from that is 125, 126 or 127."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as problem:
            complain(usage(problem))
            raise click.exceptions.Exit(CLOISON_FAILED) from None

    def invoke(self, context: click.Context) -> int:
        return beside_payload(lambda: super(PayloadVerb, self).invoke(context))


pass_invocation = click.make_pass_decorator(Invocation)


def seconds(_context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`5`, `5s`, `1m30s`: seconds."""
    return None if text is None else units.parse_duration(text, key=parameter.opts[-1])


def be_verbose(context: click.Context, _parameter: click.Parameter, is_wanted: bool) -> None:  # noqa: FBT001
    """-v behind the command's name means the same as before it."""
    if is_wanted and isinstance(context.obj, Invocation):
        context.obj.is_verbose = True


verbose = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=be_verbose, help="Show every step, and when."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, whose keys are a public contract.")
stop_timeout = click.option(
    "-t",
    "--timeout",
    "timeout_s",
    callback=seconds,
    metavar="TIME",
    help="Wait so long, then kill it (default: boot.stop_timeout_s).",
)
force_stop = click.option("-f", "--force", is_flag=True, help="Kill it at once.")
name_argument = click.argument("name", shell_complete=completing.instances)
names_argument = click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.instances
)
