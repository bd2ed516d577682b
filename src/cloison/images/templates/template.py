"""What a template is: a recipe for an image, under a name."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from cloison.base.errors import Invalid
from cloison.images.image import Facts
from cloison.images.workspace import Workspace

Progress = Callable[[str, int, int | None], None]
"""Hears the stage, how much of it is done, and of how much: None where nobody knows."""


class Option(msgspec.Struct, frozen=True):
    """Something that can be chosen when an image is built."""

    name: str
    help: str


class Request(msgspec.Struct, frozen=True):
    """An image that is asked for: valid, in one spelling, comparable."""

    template: str
    release: str  # "" where the template has only one
    options: tuple[tuple[str, str], ...]  # those that are not the default, sorted
    aliases: tuple[str, ...] = ()  # other names of the same image, where no option is chosen
    name: str = ""  # what the image is called instead, whatever the options

    @property
    def key(self) -> str:
        """Equal for equal requests: 16 hexadecimal digits."""
        words = msgspec.json.encode((self.template, self.release, self.options))
        return hashlib.sha256(words).hexdigest()[:16]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the image: "debian/12"; with options chosen, also a part of the key, "debian/12+3f09c2d1"."""
        if self.name:
            return (self.name,)
        name = f"{self.template}/{self.release}" if self.release else self.template
        return (f"{name}+{self.key[:8]}",) if self.options else (name, *self.aliases)

    def option(self, name: str, default: str = "") -> str:
        """The value chosen for an option."""
        return dict(self.options).get(name, default)


class Template(Protocol):
    """A module of this package, see `debian`, `busybox`; or an `executable`."""

    NAME: str
    SUMMARY: str

    @property
    def RELEASES(self) -> tuple[str, ...]:  # noqa: N802
        """For people, the default first; empty where there is only one, or nobody knows them."""

    @property
    def OPTIONS(self) -> tuple[Option, ...]:  # noqa: N802
        """What can be chosen."""

    def resolve(self, release: str, options: Mapping[str, str]) -> Request:
        """The request in one spelling; `release` "" is the default. Raises Invalid, naming what is allowed."""

    def build(self, request: Request, workspace: Workspace, progress: Progress) -> Facts:
        """Fill `workspace.rootfs`, which is empty. Raises Unsupported, Denied, NoSpace, Remote, Host.

        An OSError that says that the disk is full may pass: the caller makes NoSpace of it."""


def chosen(template: str, known: tuple[Option, ...], options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The options that have a value, sorted. Raises Invalid for one that is not among the `known` of the template."""
    allowed = [option.name for option in known]
    for name in options:
        if name not in allowed:
            raise Invalid(
                f"the template {template!r} has no option {name!r}",
                hint=f"there is {', '.join(allowed)}" if allowed else "it has no options",
                option=name,
            )
    return tuple(sorted((name, value) for name, value in options.items() if value))
