"""The templates that there are: one module each; a new one gets its name into `_MODULES`."""

from importlib import import_module
from typing import cast

from cloison.base.errors import Invalid
from cloison.images.templates.template import Template

_MODULES = ("busybox", "debian")


def templates() -> tuple[Template, ...]:
    """All templates, by name."""
    return tuple(template(name) for name in _MODULES)


def template(name: str) -> Template:
    """The template of this name. Raises Invalid, naming those that there are."""
    if name not in _MODULES:
        raise Invalid(
            f"there is no image and no template {name!r}",
            hint=f"the templates are {', '.join(_MODULES)}",
            template=name,
        )
    return cast(Template, import_module(f"{__package__}.{name}"))
