"""A `set` on an instance: checked, in force in what runs, and stored; all of it or nothing."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloison.base.errors import CloisonError
from cloison.engine import changing, claims, disk_limits, records, specification
from cloison.engine.changing import Scope, Wanted
from cloison.engine.records import Record
from cloison.engine.results import Change
from cloison.spec.config import Config
from cloison.spec.driver import Observed

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance
    from cloison.engine.nics import Words


def change(engine: "Engine", instance: "Instance", observed: Observed, words: "Words", scope: Scope) -> Change:
    """Apply what `words` makes of the configurations; only by who has the instance's lock."""
    record = instance.record
    assignments = tuple(words(changing.before(record, observed, scope)))
    wanted = changing.wanted(record, observed, assignments, scope)
    check(engine, record, wanted.stored, before=record.config)
    book_for_project(engine, record, wanted.live or wanted.stored)
    note = "" if scope is Scope.BOTH else f" --{scope}"
    if wanted.live is not None and _is_wired_anew(record.in_force, wanted.live):
        from cloison.engine import live_nics

        live_nics.accept(engine, record, wanted.live)
    if wanted.live is not None and wanted.live.mounts != record.in_force.mounts:
        from cloison.engine import mounts

        mounts.accept(engine, wanted.live, before=record.in_force)
    with disk_limits.changed(engine, record, wanted), _limits_changed(engine, record, wanted):
        _save(engine, record, changing.kept(record, wanted), " ".join(assignments) + note, wanted.live)
    instance.reload()
    if record.has_templates:
        from cloison.engine import file_templates

        file_templates.apply_again(engine, record, instance.record)
    return Change(wanted.at_once, wanted.later)


def check(engine: "Engine", record: Record, config: Config, *, before: Config) -> None:
    """Raise Invalid or Unsupported for limits and nics that this host cannot give, where they have changed."""
    if (config.nics, config.ports) != (before.nics, before.ports):
        from cloison.engine import acceptance

        acceptance.accept(engine, config, before=before)
    if (config.mounts, config.security) != (before.mounts, before.security):
        from cloison.engine import mounts

        mounts.accept(engine, config, before=before)
    if (config.limits, config.nics) != (before.limits, before.nics):
        from cloison.engine import limits

        limits.check(engine.driver, record.id, config)


def book_for_project(engine: "Engine", record: Record, after: Config) -> None:
    """What it has consumed so far is its present project's, if it is to belong to another from now on."""
    if after.accounting != record.in_force.accounting:
        from cloison.engine import accounting

        accounting.sample(engine, (record,), with_disk=True)


def leave_ground(engine: "Engine", before: Record, after: Record) -> None:
    """Give back what its nics have had of the host and have no more."""
    if (before.config.nics, before.config.ports, before.live) != (after.config.nics, after.config.ports, after.live):
        engine.leave_ground(before, after)


@contextlib.contextmanager
def _limits_changed(engine: "Engine", record: Record, wanted: Wanted) -> Iterator[None]:
    """The limits of what runs are the wanted ones; those before it, when something goes wrong inside."""
    present, live = wanted.present, wanted.live
    if present is None or live is None or present.limits == live.limits:
        yield
        return
    from cloison.engine import limits

    if live.limits != wanted.stored.limits:  # which have been checked
        check(engine, record, live, before=present)
    driver, before = engine.driver, limits.in_force(engine.driver, present)
    after = specification.live_limits(limits.resolved(driver, live))
    try:
        driver.set_limits(record.id, record.name, before, after)
    except CloisonError as problem:
        raise limits.refused_change(present, live, problem) from problem
    try:
        yield
    except BaseException:
        driver.set_limits(record.id, record.name, after, before)
        raise


def _save(engine: "Engine", before: Record, after: Record, detail: str, live: Config | None) -> None:
    """Store the record, and have the nics of what runs be those of `live`; both or neither."""
    with contextlib.ExitStack() as undone, engine.store.transaction() as changes:
        after = claims.settled(changes, before, after)
        if live is not None and _is_wired_anew(before.in_force, live):
            from cloison.engine import live_nics

            undone.enter_context(live_nics.changed(engine, before, after))
        if live is not None and before.in_force.mounts != live.mounts:
            from cloison.engine import mounts

            undone.enter_context(mounts.changed(engine, before, after))
        records.save(changes, after)
        changes.record(before.id, "configured", detail)
    leave_ground(engine, before, after)


def _is_wired_anew(before: Config, after: Config) -> bool:
    return (before.nics, before.ports) != (after.nics, after.ports)
