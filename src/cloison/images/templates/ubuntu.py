"""Ubuntu as a system that boots, by the same tools as Debian.

The archives are given to mmdebstrap as whole lines, with the keys that may sign them: which mirror, which components,
and the updates since the release. debootstrap knows of one archive alone, without updates.
"""

import os
import re
from collections.abc import Mapping
from typing import Final

from cloison.base.errors import Denied, Invalid, Unsupported
from cloison.images.architecture import host_architecture
from cloison.images.image import Facts
from cloison.images.templates import apt_words, debian_family, debian_tools
from cloison.images.templates.template import Option, Progress, Request, chosen
from cloison.images.workspace import Workspace

NAME: Final = "ubuntu"
SUMMARY: Final = "Ubuntu with systemd, networking and apt"
KEYRING: Final = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
OPTIONS: Final = (
    Option("architecture", "other than this host's, such as arm64; needs QEMU's user emulation"),
    Option("components", "of the archives, separated by commas (main,universe)"),
    Option("keyring", f"the file with the archives' keys ({KEYRING})"),
    Option("mirror", "addresses of archives, separated by commas; else Ubuntu's own"),
    Option("packages", "names of more packages, separated by commas"),
    Option("updates", "no: nothing but the release itself"),
)
_CODENAMES = {"24.04": "noble", "22.04": "jammy", "26.04": "resolute", "25.10": "questing"}
RELEASES: Final = tuple(_CODENAMES)
_ALIASES = {codename: release for release, codename in _CODENAMES.items()}
_ARCHITECTURES = ("amd64", "arm64", "armhf", "ppc64el", "riscv64", "s390x")
_COMPONENTS = ("main", "universe")
_COMPONENT = re.compile(r"[a-z]+")
_ARCHIVE = "http://archive.ubuntu.com/ubuntu"
_PORTS = "http://ports.ubuntu.com/ubuntu-ports"
_OF_THE_ARCHIVE = ("amd64", "i386")


def resolve(release: str, options: Mapping[str, str]) -> Request:
    """Number and code name of a release are the same. Raises Invalid, naming what is allowed."""
    number = debian_family.number_of(release, _CODENAMES, _ALIASES, "Ubuntu")
    values = dict(chosen(NAME, OPTIONS, options))
    keyring = values.get("keyring", "")
    spelt = {
        "architecture": apt_words.architecture(values.get("architecture", ""), _ARCHITECTURES, "Ubuntu"),
        "components": ",".join(_components(values.get("components", ""))),
        "keyring": "" if keyring == KEYRING else _path(keyring),
        "mirror": ",".join(apt_words.mirrors(values.get("mirror", ""))),
        "packages": ",".join(apt_words.packages(values.get("packages", ""), debian_family.PACKAGES)),
        "updates": _updates(values.get("updates", "")),
    }
    return Request(NAME, number, chosen(NAME, OPTIONS, spelt), (f"{NAME}/{_CODENAMES[number]}",))


def _components(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(apt_words.words(text)))
    for name in found:
        if not _COMPONENT.fullmatch(name):
            raise Invalid(f"{name!r} is no component", hint="as in main,universe", option="components")
    return () if found == _COMPONENTS else found


def _path(text: str) -> str:
    if text and not re.fullmatch(r"/[\w./+-]+", text, re.ASCII):
        raise Invalid(f"keyring={text}: an absolute path without blanks is expected", option="keyring")
    return text


def _updates(text: str) -> str:
    if text not in ("", "yes", "no"):
        raise Invalid(f"updates={text}: yes or no is expected", option="updates")
    return "no" if text == "no" else ""


def build(request: Request, workspace: Workspace, progress: Progress) -> Facts:
    """Fill the root filesystem. Raises Denied, Unsupported, NoSpace, Remote, Host; Invalid for an unknown package."""
    if os.geteuid() != 0:
        raise Denied("only root can build an Ubuntu image", hint="build it as root")
    return debian_family.build(request, wish(request), workspace, progress)


def wish(request: Request) -> debian_tools.Wish:
    """What the tools are asked for. Raises Unsupported where the keys of Ubuntu's archive are not on this host."""
    keyring = request.option("keyring", KEYRING)
    if not os.path.isfile(keyring):
        raise Unsupported(
            f"the keys of Ubuntu's archive are not on this host: there is no {keyring}",
            hint="apt-get install ubuntu-keyring, or name a file: --option keyring=FILE",
            path=keyring,
        )
    codename = _CODENAMES[request.release]
    architecture = request.option("architecture", host_architecture())
    own = _ARCHIVE if architecture in _OF_THE_ARCHIVE else _PORTS
    mirrors = tuple(apt_words.words(request.option("mirror"))) or (own,)
    components = tuple(apt_words.words(request.option("components"))) or _COMPONENTS
    suites = (codename,) if request.option("updates") else (codename, f"{codename}-updates", f"{codename}-security")
    lines = tuple(
        f"deb [signed-by={keyring}] {mirror} {suite} {' '.join(components)}" for mirror in mirrors for suite in suites
    )
    certificates = ("ca-certificates",) if any(mirror.startswith("https:") for mirror in mirrors) else ()
    # systemd-resolved is a package of its own since Ubuntu 24.04.
    resolved = () if request.release == "22.04" else ("systemd-resolved",)
    more = apt_words.words(request.option("packages"))
    return debian_tools.Wish(
        codename=codename,
        architecture=request.option("architecture"),
        mirrors=mirrors,
        packages=(*debian_family.PACKAGES, *resolved, *certificates, *more),
        lines=lines,
        components=components,
        keyring=keyring,
        system="Ubuntu",
        has_marker=False,  # 22.04 has no usr-is-merged, and later ones need none
    )
