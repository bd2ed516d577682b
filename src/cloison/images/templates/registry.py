"""The templates that there are: a module each, whose name is in `_MODULES`; and the host's own, which are programs.

A program in the directory of the host's own templates cannot take the name of a module.
"""

from importlib import import_module
from typing import cast

from cloison.base.errors import Invalid
from cloison.images.templates import executable
from cloison.images.templates.template import Template

_MODULES = ("busybox", "debian", "ubuntu")


def templates(own: str = "") -> tuple[Template, ...]:
    """All templates, by name, those in the directory `own` included."""
    found = {name: template(name, own) for name in (*executable.names(own), *_MODULES)}
    return tuple(found[name] for name in sorted(found))


def template(name: str, own: str = "") -> Template:
    """The template of this name; `own` is the directory of the host's own. Raises Invalid, naming those that there
    are."""
    if name not in _MODULES:
        mine = executable.found(own, name)
        if mine is not None:
            return mine
        known = sorted({*_MODULES, *executable.names(own)})
        raise Invalid(
            f"there is no image and no template {name!r}",
            hint=f"the templates are {', '.join(known)}",
            template=name,
        )
    return cast(Template, import_module(f"{__package__}.{name}"))
