"""A plan: steps in the order in which they happen, each with the place where it happens and the way back.

Pure: a plan is computed, read, compared and encoded without touching anything.
"""

from collections.abc import Iterator

import msgspec

from cloison.plan.steps import Step, Where


class Action(msgspec.Struct, frozen=True):
    """A step in its place.

    `why` says in the user's words what it is for. `undo` takes it back; it is empty where the kernel does so by
    itself when the process ends. An `optional` step that fails is a warning, not a failure."""

    step: Step
    where: Where
    why: str = ""
    undo: tuple[Step, ...] = ()
    optional: bool = False


class Plan(msgspec.Struct, frozen=True):
    """All that happens, and how it is taken back.

    `inherited` names the descriptors that the launcher finds open: slot 0, 1, … `epilogue` are the undo steps that
    run last and only after all others succeeded: they remove the journal itself."""

    title: str
    actions: tuple[Action, ...]
    inherited: tuple[str, ...] = ()
    epilogue: tuple[Step, ...] = ()

    def undo(self) -> Iterator[tuple[Step, bool]]:
        """The undo steps in the order in which they run; True marks those of the epilogue."""
        for action in reversed(self.actions):
            for step in action.undo:
                yield step, False
        for step in self.epilogue:
            yield step, True
