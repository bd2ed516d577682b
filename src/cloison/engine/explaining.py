"""A plan as faces show it: as text for people, as values for programs. Imported when a plan is shown."""

from typing import TYPE_CHECKING

from cloison.plan.plan import Plan
from cloison.plan.text import explain as text
from cloison.plan.text import explain_values as values

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance

__all__ = ["networks", "text", "values"]


def networks(engine: "Engine", instance: "Instance") -> tuple[Plan, ...]:
    """The plans that bring the networks of an instance up, as they would run now, in front of that of its start. Of
    what is there already they say what it is compared with. Raises Unsupported where a program is missing."""
    names = dict.fromkeys(nic.on for nic in instance.config.nics.values() if nic.on)
    return tuple(engine.networks.plan(name) for name in names)
