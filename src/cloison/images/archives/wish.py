"""What somebody wants of an archive that he imports. Pure."""

import os

import msgspec

from cloison.images.image import Facts
from cloison.images.limits import DEFAULT, Limits
from cloison.images.servers.platforms import Platform


class Wish(msgspec.Struct, frozen=True):
    """`names` for the image, none for those that the archive gives it; `only` the image of this name in the archive.
    What is set of `os`, `release`, `variant`, `architecture` and `description` replaces what the archive says."""

    platform: Platform
    names: tuple[str, ...] = ()
    is_platform_chosen: bool = False
    only: str = ""
    source: str = ""
    os: str = ""
    release: str = ""
    variant: str = ""
    architecture: str = ""
    description: str = ""
    limits: Limits = DEFAULT

    def named_after(self, path: str) -> "Wish":
        """The same, with a source: the archive's name, without the directories of this host."""
        return self if self.source else msgspec.structs.replace(self, source=os.path.basename(path.rstrip("/")))

    def applied(self, facts: Facts) -> Facts:
        """The facts, as they were wished for."""
        said = {name: getattr(self, name) for name in ("os", "release", "architecture") if getattr(self, name)}
        more = {name: getattr(self, name) for name in ("variant", "description") if getattr(self, name)}
        return msgspec.structs.replace(facts, **said, properties={**facts.properties, **more})
