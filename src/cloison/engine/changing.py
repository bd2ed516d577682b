"""What a `set` comes to: the configuration that is stored, and the one that is in force in what runs. Pure.

An instance that runs may differ from its stored configuration: something was set for the one or the other alone, or
cannot be changed while it runs. What is in force then stands in its record (`Record.live`) until its next start.
"""

from enum import StrEnum

import msgspec

from cloison.base.errors import Invalid, WrongState
from cloison.engine.records import Record
from cloison.spec import config as configuration
from cloison.spec.config import Config
from cloison.spec.driver import Observed, State


class Scope(StrEnum):
    """What a `set` changes: what runs and what is stored, or only one of them."""

    BOTH = "both"
    LIVE = "live"
    NEXT_START = "next-start"

    @classmethod
    def of(cls, word: str) -> "Scope":
        """The scope with this name. Raises Invalid."""
        if word not in tuple(cls):
            raise Invalid(f"{word!r} is no scope of a change; write one of {', '.join(cls)}")
        return cls(word)


class Wanted(msgspec.Struct, frozen=True):
    """What is to be: `stored` at the next start, and `live` in force instead of `present`; both are None where nothing
    runs. `at_once` are the keys that are in force then, as they were written, `later` those that wait."""

    stored: Config
    present: Config | None
    live: Config | None
    at_once: tuple[str, ...]
    later: tuple[str, ...]


def before(record: Record, observed: Observed, scope: Scope) -> tuple[Config, ...]:
    """The configurations that a change of this scope is to begin from, the one in force last."""
    stored = () if scope is Scope.LIVE and observed.pid else (record.config,)  # `wanted` refuses where nothing runs
    live = () if scope is Scope.NEXT_START or not observed.pid else (record.in_force,)
    return (*stored, *live)


def wanted(record: Record, observed: Observed, assignments: tuple[str, ...], scope: Scope) -> Wanted:
    """What `assignments` make of the configuration. Raises Invalid, and WrongState for what can be done only while the
    instance runs."""
    names = tuple(configuration.split(assignment)[0] for assignment in assignments)
    changed = configuration.assign_all(record.config, assignments)
    if observed.state is State.STARTING:
        raise WrongState(f"{record.name!r} cannot be changed: it is starting", hint="try again when it has started")
    if not observed.pid:
        if scope is Scope.LIVE:
            raise WrongState(
                f"{record.name!r} cannot be changed live: it is {observed.state}",
                hint="use --next-start, or neither option: it will start with that",
                state=str(observed.state),
            )
        return Wanted(changed, None, None, names, ())
    can_be_live = _can_be_live(names, configuration.assign_all(record.in_force, assignments))
    if scope is Scope.LIVE:
        _expect_live(can_be_live)
    present = record.in_force
    at_once = [
        assignment
        for assignment in assignments
        if can_be_live[configuration.split(assignment)[0]] and scope is not Scope.NEXT_START
    ]
    return Wanted(
        stored=record.config if scope is Scope.LIVE else changed,
        present=present,
        live=configuration.assign_all(present, at_once),
        at_once=tuple(name for name in names if can_be_live[name] and scope is not Scope.NEXT_START),
        later=tuple(name for name in names if not can_be_live[name] or scope is Scope.NEXT_START),
    )


def _can_be_live(names: tuple[str, ...], after: Config) -> dict[str, bool]:
    """Which keys can be in force at once; all that a nic had can go with it."""
    found = {name: configuration.address(name) for name in names}
    return {
        name: each.key.is_live or (each.key.name.startswith("nics.") and each.item not in after.nics)
        for name, each in found.items()
    }


def _expect_live(can_be_live: dict[str, bool]) -> None:
    for name, is_live in can_be_live.items():
        if not is_live:
            raise Invalid(
                f"{name} cannot be changed while the instance runs",
                hint="use --next-start; `cloison set --help` marks the keys that can with a +",
                key=name,
            )


def kept(record: Record, wanted: Wanted) -> Record:
    """The record afterwards."""
    live = None if wanted.live == wanted.stored else wanted.live
    return msgspec.structs.replace(record, config=wanted.stored, live=live)
