"""The host's configuration: /etc/cloison/cloison.toml, or ROOT/etc/cloison.toml of an installation below ROOT.

    [registries]       see `cloison.images.servers.settings`
    [remotes.NAME]     likewise

No file is the same as an empty one. What is not known in it is an error that names it: a misspelled key would
otherwise be a wish that nobody hears.
"""

from typing import Any, TypeVar

import msgspec

from cloison.base.errors import Host, Invalid
from cloison.images.servers import settings
from cloison.images.servers.settings import Registries, Remote

T = TypeVar("T")


class HostSettings(msgspec.Struct, frozen=True):
    """The whole file."""

    registries: Registries = Registries()
    remotes: dict[str, Remote] = {}

    @property
    def all_remotes(self) -> dict[str, Remote]:
        """Those that are always there, and those of the file, which may be others under the same names."""
        return settings.DEFAULT_REMOTES | self.remotes


def load(path: str) -> HostSettings:
    """The configuration in the file `path`. Raises Invalid, naming the key; Host where it cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return HostSettings()
    except OSError as problem:
        raise Host(f"the configuration {path} cannot be read: {problem.strerror}", path=path) from problem
    try:
        return _settings(msgspec.toml.decode(content))
    except msgspec.DecodeError as problem:
        raise Invalid(f"{path} is no TOML: {problem}", path=path) from problem
    except Invalid as problem:
        hint = problem.hint or "docs/registries.md lists the keys"
        raise Invalid(f"{path}: {problem.sentence}", hint=hint, path=path) from problem


def _settings(document: dict[str, Any]) -> HostSettings:
    for key in document:
        if key not in HostSettings.__struct_fields__:
            raise Invalid(f"there is no key {key}")
    registries = _typed(document.get("registries", {}), Registries, "registries")
    tables = document.get("remotes", {})
    if not isinstance(tables, dict):
        raise Invalid("remotes: expected tables, as in [remotes.NAME]")
    remotes = {name: _typed(table, Remote, f"remotes.{name}") for name, table in tables.items()}
    settings.check(registries, remotes)
    return HostSettings(registries, remotes)


def _typed(table: Any, shape: type[T], key: str) -> T:
    """The table under `key` as a value. Raises Invalid, with the key as one writes it."""
    try:
        return msgspec.convert(table, type=shape)
    except msgspec.ValidationError as problem:
        what, _, place = str(problem).partition(" - at `$")
        where = key + place.rstrip("`")
        unknown = what.removeprefix("Object contains unknown field `").rstrip("`")
        said = (
            f"there is no key {where}.{unknown}"
            if unknown != what.rstrip("`")
            else f"{where}: {what[0].lower()}{what[1:]}"
        )
        raise Invalid(said) from problem
