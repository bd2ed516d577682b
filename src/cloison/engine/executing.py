"""What a command inside is run with: its environment, its user, its limits."""

import os

import msgspec

from cloison.base.errors import Invalid
from cloison.engine import specification
from cloison.engine.records import Record
from cloison.spec.driver import Account, ExecRequest
from cloison.spec.limits import Limits
from cloison.spec.oci import Process, User


class Wanted(msgspec.Struct, frozen=True):
    """A command as somebody asked for it; `winsize` is (rows, columns) where it has a terminal."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    terminal: bool
    winsize: tuple[int, int]


def expect_command(wanted: Wanted) -> None:
    """Raise Invalid where there is none."""
    if not wanted.argv:
        raise Invalid("no command to run", hint="write it after the name, such as: cloison exec web -- ps")


def _to_enter(record: Record) -> Record:
    """A record with the configuration of what runs, and the limits that a command inside needs."""
    config = record.in_force
    if config.limits != Limits():
        from cloison.engine import limits

        config = limits.of_processes(config)
    return msgspec.structs.replace(record, config=config)


def request(record: Record, wanted: Wanted, account: Account | None) -> ExecRequest:
    """What the driver is asked for; without an account the command is root's."""
    record = _to_enter(record)
    spec = specification.specification(record)
    variables = dict(item.split("=", 1) for item in specification.environment(record))
    owner = User()
    variables |= {"HOME": "/root", "USER": "root"}
    if account is not None:
        owner = User(account.uid, account.gid, additional_gids=account.groups)
        variables |= {"HOME": account.home, "USER": account.name}
    if wanted.terminal:
        variables["TERM"] = os.environ.get("TERM", "xterm")
    variables |= wanted.env
    process = Process(
        args=wanted.argv,
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        cwd=wanted.cwd or "/",
        terminal=wanted.terminal,
        user=owner,
        rlimits=spec.process.rlimits,
        capabilities=spec.process.capabilities if owner.uid == 0 else specification.capability_sets_of_a_user(),
        no_new_privileges=spec.process.no_new_privileges,
        oom_score_adj=spec.process.oom_score_adj,
    )
    return ExecRequest(record.name, spec, process, wanted.winsize)
