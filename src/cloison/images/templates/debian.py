"""Debian as a system that boots: systemd, networking and apt, and little else; built by the distribution's own tools.

mmdebstrap where it is installed, else debootstrap, both in namespaces of their own and as root. The archives are those
that the tool chooses by itself, unless `mirror` names others. What the build says is in `last-build.log`.
"""

import os
from collections.abc import Mapping
from typing import Final

from cloison.base.errors import Denied
from cloison.images.image import Facts
from cloison.images.templates import apt_words, debian_family, debian_tools
from cloison.images.templates.template import Option, Progress, Request, chosen
from cloison.images.workspace import Workspace

NAME: Final = "debian"
SUMMARY: Final = "Debian with systemd, networking and apt"
OPTIONS: Final = (
    Option("architecture", "other than this host's, such as arm64; needs QEMU's user emulation"),
    Option("mirror", "addresses of archives, separated by commas; the tool's own choice is then not used"),
    Option("packages", "names of more packages, separated by commas"),
)

_CODENAMES = {"12": "bookworm", "13": "trixie", "14": "forky", "11": "bullseye", "sid": "sid"}
RELEASES: Final = tuple(_CODENAMES)
_ALIASES = {"unstable": "sid"} | {codename: release for release, codename in _CODENAMES.items()}
_ARCHITECTURES = ("amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x")


def resolve(release: str, options: Mapping[str, str]) -> Request:
    """Number and code name of a release are the same. Raises Invalid, naming what is allowed."""
    number = debian_family.number_of(release, _CODENAMES, _ALIASES, "Debian")
    values = dict(chosen(NAME, OPTIONS, options))
    spelt = {
        "architecture": apt_words.architecture(values.get("architecture", ""), _ARCHITECTURES, "Debian"),
        "mirror": ",".join(apt_words.mirrors(values.get("mirror", ""))),
        "packages": ",".join(apt_words.packages(values.get("packages", ""), debian_family.PACKAGES)),
    }
    codename = _CODENAMES[number]
    aliases = () if codename == number else (f"{NAME}/{codename}",)
    return Request(NAME, number, chosen(NAME, OPTIONS, spelt), aliases)


def build(request: Request, workspace: Workspace, progress: Progress) -> Facts:
    """Fill the root filesystem. Raises Denied, Unsupported, NoSpace, Remote, Host; Invalid for an unknown package."""
    if os.geteuid() != 0:
        raise Denied(
            "only root can build a Debian image",
            hint="build it as root, or use the template busybox, which anybody can build",
        )
    wish = debian_tools.Wish(
        codename=_CODENAMES[request.release],
        architecture=request.option("architecture"),
        mirrors=tuple(apt_words.words(request.option("mirror"))),
        packages=_packages_of(request),
    )
    return debian_family.build(request, wish, workspace, progress)


def _packages_of(request: Request) -> tuple[str, ...]:
    """Everything that is asked for by name. systemd-resolved is a package of its own since Debian 12."""
    resolved = () if request.release == "11" else ("systemd-resolved",)
    certificates = ("ca-certificates",) if "https://" in request.option("mirror") else ()
    return (*debian_family.PACKAGES, *resolved, *certificates, *apt_words.words(request.option("packages")))
