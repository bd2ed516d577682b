"""Processor architectures: Debian's names, which cloison uses, and Go's, which registries use. Pure."""

from typing import Final

import msgspec

from cloison.base.errors import Invalid

_GO: Final = {"armhf": "arm/v7", "armel": "arm/v6", "i386": "386", "ppc64el": "ppc64le", "mips64el": "mips64le"}
_DEBIAN: Final = {go: debian for debian, go in _GO.items()} | {"arm/v8": "arm64", "arm64/v8": "arm64", "arm": "armhf"}


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an image runs on, as manifests and configs say it: image-index.md, `platform`."""

    architecture: str
    os: str = "linux"
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    @property
    def debian(self) -> str:
        """Debian's name of the architecture: "armhf"."""
        whole = f"{self.architecture}/{self.variant}" if self.variant else self.architecture
        return _DEBIAN.get(whole, _DEBIAN.get(self.architecture, self.architecture))


def platform_of(debian: str) -> Platform:
    """The platform of a Linux on Debian's architecture `debian`."""
    architecture, _, variant = _GO.get(debian, debian).partition("/")
    return Platform(architecture, "linux", variant)


def parse(text: str) -> Platform:
    """`linux/arm64/v8`, `linux/amd64`, or an architecture alone by either name. Raises Invalid."""
    parts = text.split("/")
    if len(parts) == 1:
        parts = ["linux", *_GO.get(text, text).split("/")]
    if len(parts) > 3 or not all(part.replace("_", "").replace("-", "").isalnum() for part in parts):
        raise Invalid(f"{text!r} is no platform", hint="write linux/amd64, linux/arm/v7 or arm64", platform=text)
    if parts[0] != "linux":
        raise Invalid(f"{text!r} is not for Linux, and nothing else runs here", platform=text)
    return Platform(parts[1], parts[0], parts[2] if len(parts) == 3 else "")


def suits(wanted: Platform, offered: Platform) -> bool:
    """Whether an image for `offered` is what was asked for by `wanted`."""
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return False
    return not wanted.variant or not offered.variant or wanted.variant == offered.variant
