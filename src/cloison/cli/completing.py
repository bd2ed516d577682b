"""What the shell may complete: names of instances and images, keys of the configuration. Silent when in doubt."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloison.engine.engine import Engine
    from cloison.spec.config import Config


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


def networks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of networks, and the words that stand for none of them."""
    words = [word for word in ("empty", "host", "none") if word.startswith(incomplete)]
    return own_networks(context, parameter, incomplete) + words


def own_networks(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of networks that are not on the line yet."""
    given = {word for value in context.params.values() if isinstance(value, tuple) for word in value}
    try:
        names = [network.name for network in _engine(context).networks.all()]
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete) and name not in given]


def pools(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of storage pools that are not on the line yet."""
    given = {word for value in context.params.values() if isinstance(value, tuple) for word in value}
    try:
        names = [pool.name for pool in _engine(context).pools.all()]
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete) and name not in given]


def network_assignments(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """`name=` for every option of a network."""
    from cloison.spec.networks import NETWORK_KEYS

    return [f"{key.name}=" for key in NETWORK_KEYS if key.name.startswith(incomplete)]


def snapshots(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The snapshots of the instance that is on the line."""
    try:
        found = _engine(context).get(context.params["name"]).snapshots.list()
        return sorted(each.name for each in found if each.name.startswith(incomplete))
    except Exception:
        return []


def nics(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The interfaces of the instance that is on the line."""
    return _of_config(context, lambda config: config.nics, incomplete)


def mounts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The mounts of the instance that is on the line."""
    return _of_config(context, lambda config: config.mounts, incomplete)


def mount_assignments(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """`key=` for every key of a mount."""
    from cloison.spec.mount_keys import MOUNT_KEYS

    names = [key.name.removeprefix("mounts.*.") for key in MOUNT_KEYS]
    return [f"{name}=" for name in names if name.startswith(incomplete)]


def volumes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of volumes, with their pool where that is not the default one."""
    try:
        found = _engine(context).volumes.all()
        names = [each.name if each.pool == "default" else f"{each.pool}/{each.name}" for each in found]
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete)]


def ports(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The ports that lead to the instance that is on the line."""
    return _of_config(context, lambda config: config.ports, incomplete)


def nic_assignments(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """`key=` for every key of a nic."""
    from cloison.spec.nic_keys import NIC_KEYS

    names = [key.name.removeprefix("nics.*.") for key in NIC_KEYS]
    return [f"{name}=" for name in names if name.startswith(incomplete)]


def _of_config(context: click.Context, names: "Callable[[Config], Iterable[str]]", incomplete: str) -> list[str]:
    try:
        config = _engine(context).get(context.params["name"]).config
        return sorted(name for name in names(config) if name.startswith(incomplete))
    except Exception:
        return []


def signals(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of signals."""
    from cloison.base.signals import SIGNALS

    return [f"SIG{name}" for name in SIGNALS if f"SIG{name}".startswith(incomplete.upper())]


def _engine(context: click.Context) -> "Engine":
    """The installation that the words so far speak of."""
    from cloison.engine.engine import open_engine

    return open_engine(context.find_root().params.get("root"))
