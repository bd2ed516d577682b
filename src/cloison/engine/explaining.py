"""A plan as faces show it: as text for people, as values for programs. Imported when a plan is shown."""

from cloison.plan.text import explain as text
from cloison.plan.text import explain_values as values

__all__ = ["text", "values"]
