"""Interfaces that come to a running instance, and that leave it.

What takes one back is written down before it is made, where the undo steps of the instance's start will look for it:

    <run>/<id>/later    a plan of which only the undo steps count, those of every interface that came after the start,
                        and of the packet rules of all, which may change

It is replaced as a whole, by the one command that may change the instance (`RunDir.command`), and removed with the
instance's other files when it ends. A guest needs to be told nothing: its kernel does that.
"""

import contextlib
import os
from collections.abc import Iterable

from cloison.base.errors import Bug, CloisonError, WrongState
from cloison.kernel import procfs
from cloison.kernel.programs import needed
from cloison.plan.builder import Builder
from cloison.plan.codec import decode, encode
from cloison.plan.inputs import NetworkPlace
from cloison.plan.network import compile_attach, compile_detach, compile_rules, rules_undo
from cloison.plan.network_steps import UndoLater
from cloison.plan.plan import Action, Plan
from cloison.plan.steps import Step, Where
from cloison.runtime import host_steps, lending
from cloison.runtime.live_limits import Kept
from cloison.runtime.rundir import RunDir
from cloison.spec.network import Interface


def nft(interfaces: Iterable[Interface]) -> str:
    """The program that takes packet rules; empty where no interface has any. Raises Unsupported where it is missing."""
    has_rules = any(each.nft or each.nft_undo for each in interfaces)
    return needed("nft", package="nftables") if has_rules else ""


def prepare(rundir: RunDir, interfaces: Iterable[Interface]) -> None:
    """Write down what takes the packet rules of an instance back that is about to start."""
    found = tuple(interfaces)
    place = NetworkPlace(rundir.path, nft(found))
    _write(rundir, place, tuple(step for each in found for step in rules_undo(place, each)))


def change_rules(rundir: RunDir, name: str, before: Interface, after: Interface) -> None:
    """Give an interface of the running instance `name` the packet rules, rates and isolation of `after` instead of
    those of `before`; the `nft` of each is what makes its rules of those of the other.

    Raises the errors of `failures`; then it has those it had."""
    place = NetworkPlace(rundir.path, nft((before, after)))
    _require_undo(rundir, name, place)
    present = _later(place)
    old, new = rules_undo(place, before), rules_undo(place, after)
    rest = tuple(step for step in present if step not in (*old, *new))
    _write(rundir, place, (*new, *old, *rest))
    try:
        host_steps.run(compile_rules(f"change the packet rules of {name}", before, after, place))
    except CloisonError as problem:
        if isinstance(problem, Bug):  # the launcher has died: nobody has put back what it had changed
            with contextlib.suppress(CloisonError):
                host_steps.run(compile_rules(f"put the packet rules of {name} back", after, before, place))
        _write(rundir, place, present)
        raise
    _write(rundir, place, (*new, *rest))


def attach(rundir: RunDir, name: str, interface: Interface, kept: Kept) -> None:
    """Give the running instance `name` one more interface; nothing is left of it where that fails.

    Raises WrongState where the instance was started by a version that knew of no such thing, and the errors of
    `failures`."""
    (interface,) = lending.with_homes((interface,))
    place = NetworkPlace(rundir.path, nft((interface,)))
    plan = compile_attach(f"give {name} the interface {interface.name}", interface, place)
    _require_undo(rundir, name, place)
    before = _later(place)
    own = _undo(plan)
    _write(rundir, place, (*own, *(step for step in before if step not in own)))
    try:
        with procfs.network_of(kept.pid) as netns:
            host_steps.run(plan, (netns,))
    except CloisonError as problem:
        if isinstance(problem, Bug):  # the launcher has died: nobody has taken back what it had done
            host_steps.run(_taking_back(plan))
        _write(rundir, place, before)
        raise


def detach(rundir: RunDir, name: str, interface: Interface) -> None:
    """Take an interface from the running instance `name`; `interface` is as it was when it came.

    Raises the errors of `failures`; then it can be tried again."""
    place = NetworkPlace(rundir.path, nft((interface,)))
    before, begun = _later(place), _started(rundir)
    late = _undo(compile_attach("", interface, place))
    rules = rules_undo(place, interface)  # of those from the start are there, too
    made = [step for step in late if step not in rules]
    is_late = bool(made) and all(step in before for step in made)
    title, written = f"take {interface.name} from {name}", before if is_late else begun
    plan = compile_detach(title, interface, place, is_late=is_late, written=written)
    host_steps.run(plan)
    gone = (*late, *rules, *(action.step for action in plan.actions))
    if any(step in before for step in gone):
        _write(rundir, place, tuple(step for step in before if step not in gone))


def _taking_back(plan: Plan) -> Plan:
    """What takes back as much of a plan as there is."""
    build = Builder(f"take back: {plan.title}")
    build.chapter("what a launcher that died has left")
    for step in _undo(plan):
        build.host(step, optional=True)
    return build.plan()


def _undo(plan: Plan) -> tuple[Step, ...]:
    return tuple(step for step, _is_final in plan.undo())


def _require_undo(rundir: RunDir, name: str, place: NetworkPlace) -> None:
    if UndoLater(place.later) not in _started(rundir):
        raise WrongState(
            f"{name} cannot be given an interface while it runs: it has no network of its own, or was started by an"
            " older version",
            hint=f"cloison restart {name}",
        )


def _started(rundir: RunDir) -> tuple[Step, ...]:
    """What takes the start back."""
    with open(rundir.journal, "rb") as journal:
        _steps, undo = decode(journal.read())
    return tuple(step for step, _where, _flags in undo)


def _later(place: NetworkPlace) -> tuple[Step, ...]:
    try:
        with open(place.later, "rb") as file:
            return tuple(step for step, _where, _flags in decode(file.read())[1])
    except FileNotFoundError:
        return ()


def _write(rundir: RunDir, place: NetworkPlace, steps: tuple[Step, ...]) -> None:
    if not steps:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place.later)
        return
    carrier = Action(UndoLater(place.later), Where.HOST, undo=steps)
    fd = os.open(rundir.scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(encode(Plan("what came after the start", (carrier,))))
    os.rename(rundir.scratch, place.later)
