"""Templates: how images are built on this host. One module each; a new one gets a line in `_MODULES`."""

from importlib import import_module
from typing import cast

from cloison.base.errors import Invalid
from cloison.images.templates.template import Option, Progress, Request, Template

__all__ = ["Option", "Progress", "Request", "Template", "template", "templates"]

_MODULES = ("busybox",)


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
    return cast(Template, import_module(f"{__name__}.{name}"))
