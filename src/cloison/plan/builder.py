"""The notebook in which a plan is written down, step by step.

It hands out slots and keeps the chapter (`why`) under which the next steps are explained. It is the only mutable
thing in `plan`, and lives no longer than one call of a compiler.
"""

from cloison.plan.plan import Action, Plan
from cloison.plan.steps import Step, Where


class Builder:
    """Collects actions; `plan()` ends it."""

    def __init__(self, title: str, inherited: tuple[str, ...] = ()) -> None:
        self._title = title
        self._inherited = inherited
        self._actions: list[Action] = []
        self._next_slot = len(inherited)
        self._why = ""

    def chapter(self, why: str) -> None:
        """What the steps from here on are for, in the user's words."""
        self._why = why

    def slot(self) -> int:
        """A slot that no other step of this plan fills."""
        self._next_slot += 1
        return self._next_slot - 1

    def host(self, step: Step, *, undo: tuple[Step, ...] = (), optional: bool = False) -> None:
        """A step of the launcher."""
        self._actions.append(Action(step, Where.HOST, self._why, undo, optional))

    def inside(self, step: Step, *, optional: bool = False) -> None:
        """A step of the new process."""
        self._actions.append(Action(step, Where.INSIDE, self._why, (), optional))

    def plan(self, *, epilogue: tuple[Step, ...] = ()) -> Plan:
        """The finished plan."""
        return Plan(self._title, tuple(self._actions), self._inherited, epilogue)
