"""Building images: by a template, by a program that is one, by a recipe."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cloison.base.errors import Invalid

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.images import Image

Progress = Callable[[str, int, int | None], None]


def recipe_path(engine: "Engine", reference: str) -> str:
    """The file of the recipe that `reference` names; "" where it names none."""
    if reference.endswith(".toml"):
        return reference
    own = f"{engine.layout.templates}/{reference}.toml"
    return own if "/" not in reference and os.path.isfile(own) else ""


def build(
    engine: "Engine",
    reference: str,
    options: Mapping[str, str],
    template: str,
    *,
    rebuild: bool | None,
    progress: Progress | None,
) -> "Image":
    """See `Engine.build`."""
    from cloison.images import obtain

    path = "" if template else recipe_path(engine, reference)
    if path:
        from cloison.engine import recipes

        if options:
            raise Invalid(
                f"{reference} is a recipe, which has no options",
                hint="those of its base are in its table [options]",
                option=next(iter(options)),
            )
        return recipes.build(engine, path, is_anew=bool(rebuild), progress=progress)
    if ":" in reference:
        raise Invalid(f"{reference!r} is not built, it is pulled", hint=f"cloison image pull {reference}")
    return obtain(
        engine.images,
        reference,
        options=options,
        rebuild=rebuild is not False,
        own_templates=engine.layout.templates,
        program=template,
        progress=progress,
    )
