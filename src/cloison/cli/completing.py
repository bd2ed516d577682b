"""What the shell may complete: names of instances and images, keys of the configuration. Silent when in doubt."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


def instances(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of instances that are not on the line yet."""
    given = {word for value in context.params.values() if isinstance(value, tuple) for word in value}
    try:
        names = [instance.name for instance in _engine(context).instances()]
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete) and name not in given]


def images(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of images, and of templates that can build one."""
    try:
        engine = _engine(context)
        names = {name for image in engine.images.images() for name in image.names}
        names |= {template.NAME for template in engine.templates()}
    except Exception:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def keys(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Keys of the configuration."""
    from cloison.spec.config import KEYS

    known = []
    for key in KEYS:
        is_open = key.name.endswith("*") and len(key.samples) == 1  # too many to offer any: the name goes on
        known += [key.name.rstrip("*")] if is_open else [key.name.replace("*", name) for name in key.samples]
    return [key for key in dict.fromkeys(known) if key.startswith(incomplete)]


def assignments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`key=` for every key of the configuration."""
    return [key if key.endswith(".") else f"{key}=" for key in keys(context, parameter, incomplete)]


def signals(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of signals."""
    from cloison.base.signals import SIGNALS

    return [f"SIG{name}" for name in SIGNALS if f"SIG{name}".startswith(incomplete.upper())]


def _engine(context: click.Context) -> "Engine":
    """The installation that the words so far speak of."""
    from cloison.engine.engine import open_engine

    return open_engine(context.find_root().params.get("root"))
