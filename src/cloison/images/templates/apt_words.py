"""What is chosen of an archive of Debian's kind, in one spelling: architectures, mirrors, packages. Pure."""

import re
from collections.abc import Collection, Sequence

from cloison.base.errors import Invalid
from cloison.images.architecture import host_architecture

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?")  # Debian policy, 5.6.7
_MIRROR = re.compile(r"(https?://|file:/)[\w.:/@~%+\[\]-]+", re.ASCII)


def words(text: str) -> list[str]:
    """Words that are separated by commas or blanks."""
    return text.replace(",", " ").split()


def architecture(name: str, known: Sequence[str], system: str) -> str:
    """The architecture to build for; "" for this host's. Raises Invalid."""
    if name and name not in known:
        raise Invalid(
            f"{name!r} is no architecture of {system}",
            hint=f"there is {', '.join(known)}",
            option="architecture",
        )
    return "" if name == host_architecture() else name


def mirrors(text: str) -> list[str]:
    """Addresses of archives. Raises Invalid."""
    for address in words(text):
        if not _MIRROR.fullmatch(address):
            raise Invalid(
                f"{address!r} is no address of an archive",
                hint="it begins with http://, https:// or file:/",
                option="mirror",
            )
    return words(text)


def packages(text: str, present: Collection[str]) -> list[str]:
    """Names of packages, without those that are there anyway. Raises Invalid."""
    for name in words(text):
        if not _PACKAGE.fullmatch(name):
            raise Invalid(
                f"{name!r} cannot be the name of a package",
                hint="lower-case letters and digits, and + - . after the first",
                option="packages",
            )
    return sorted(set(words(text)) - set(present))
