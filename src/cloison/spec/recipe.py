"""Recipes: an image out of another one, with packages, files and commands, as a TOML file. Pure.

    base = "debian/12"
    packages = ["nginx"]
    commands = ["systemctl enable nginx", ["/usr/local/bin/prepare", "--quiet"]]
    command = ["/sbin/init"]
    env = { TZ = "Europe/Paris" }

    [[files]]
    path = "/etc/nginx/conf.d/site.conf"
    source = "site.conf"                        # or content = '...', or link = "/run/site.conf"
    owner = "www-data:www-data"
    mode = "0640"

What is not known in it is an error: a misspelled key would be a wish that nobody hears.
"""

import re
from typing import Any

import msgspec

from cloison.base.errors import Invalid

_MODE = re.compile(r"[0-7]{3,4}")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file, a directory with all that is in it, or a link; exactly one of `content`, `source` and `link` is given.

    `source` is relative to the recipe. `mode` "" is 0644 for `content`, and the source's own. `owner` is a user, or a
    user and a group, by names of the image or numbers. `is_early`: it is there before packages are installed."""

    path: str
    content: str | None = None
    source: str | None = None
    link: str | None = None
    owner: str = "root"
    mode: str = ""
    early: bool = False


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. What is empty stays as in the base. `network` None: only where there are packages."""

    base: str
    name: str = ""
    options: dict[str, str] = {}
    packages: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    commands: tuple[str | tuple[str, ...], ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    workdir: str = ""
    user: str = ""
    network: bool | None = None

    @property
    def is_networked(self) -> bool:
        """Whether what is run while it is built has a network."""
        return bool(self.packages) if self.network is None else self.network


def parse(content: bytes) -> Recipe:
    """The recipe in a TOML document. Raises Invalid, naming the key."""
    try:
        document = msgspec.toml.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"it is no TOML: {problem}") from problem
    try:
        recipe = msgspec.convert(document, type=Recipe)
    except msgspec.ValidationError as problem:
        raise Invalid(_worded(str(problem), document), hint="docs/templates.md lists the keys") from problem
    _check(recipe)
    return recipe


def _worded(said: str, document: dict[str, Any]) -> str:
    """What msgspec says, with the key as one writes it."""
    what, _, place = said.partition(" - at `$")
    where = place.rstrip("`").lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown:
        return f"there is no key {f'{where}.' if where else ''}{unknown[1]}"
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        return f"the key {f'{where}.' if where else ''}{missing[1]} is missing"
    return f"{where or 'the recipe'}: {what[0].lower()}{what[1:]}"


def _check(recipe: Recipe) -> None:
    _expect(bool(recipe.base.strip()), "base", recipe.base, "the name of an image, as debian/12")
    _expect(not recipe.base.endswith(".toml"), "base", recipe.base, "the name of an image; build that recipe first")
    for number, file in enumerate(recipe.files):
        _check_file(f"files[{number}]", file)
    for number, package in enumerate(recipe.packages):
        _expect(bool(_PACKAGE.fullmatch(package)), f"packages[{number}]", package, "the name of a package")
    for number, command in enumerate(recipe.commands):
        _expect(bool(command and command[0]), f"commands[{number}]", str(command), "a command")
    for name, value in recipe.env.items():
        _expect(bool(_VARIABLE.fullmatch(name)), "env", name, "letters, digits and _ in the name of a variable")
        _expect("\0" not in value, f"env.{name}", value, "a text")
    _expect(recipe.workdir == "" or _is_path(recipe.workdir), "workdir", recipe.workdir, "an absolute path")
    _expect(recipe.user == "" or bool(_OWNER.fullmatch(recipe.user)), "user", recipe.user, "a user, or user:group")


def _check_file(key: str, file: File) -> None:
    _expect(_is_path(file.path) and file.path != "/", f"{key}.path", file.path, "an absolute path, without ..")
    given = [name for name in ("content", "source", "link") if getattr(file, name) is not None]
    if len(given) != 1:
        raise Invalid(
            f"{key} ({file.path}): one of content, source and link is expected, not {' and '.join(given) or 'none'}"
        )
    _expect(bool(_OWNER.fullmatch(file.owner)), f"{key}.owner", file.owner, "a user, or user:group")
    _expect(not file.mode or bool(_MODE.fullmatch(file.mode)), f"{key}.mode", file.mode, 'octal digits, as in "0644"')
    _expect(not (file.mode and file.link is not None), f"{key}.mode", file.mode, "none, as links have no mode")


def _is_path(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\0" not in path and not path.endswith("/.")


def _expect(is_right: object, key: str, value: str, expected: str) -> None:
    if not is_right:
        raise Invalid(f"{key}={value}: {expected} is expected", hint="docs/templates.md lists the keys", key=key)
