"""What the templates of Debian and of those that are made of it have in common: releases, packages, the course of a
build."""

from collections.abc import Mapping
from typing import Final

from cloison.base.errors import Invalid
from cloison.images.architecture import host_architecture
from cloison.images.image import Facts
from cloison.images.templates import debian_system, debian_tools
from cloison.images.templates.template import Progress, Request
from cloison.images.workspace import Workspace

# On top of the "required" packages and apt. Nothing that these only recommend.
PACKAGES: Final = (
    "dbus",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-systemd",
    "login",
    "netbase",
    "procps",
    "systemd-sysv",
)


def number_of(release: str, codenames: Mapping[str, str], aliases: Mapping[str, str], system: str) -> str:
    """The number of a release that is said by number or by an alias; "" is the first of `codenames`, which are by
    number. Raises Invalid, naming those that there are."""
    if not release:
        return next(iter(codenames))
    number = release if release in codenames else aliases.get(release, "")
    if not number:
        raise Invalid(
            f"there is no template for the {system} release {release!r}",
            hint="there is " + ", ".join(f"{n} ({name})" if n != name else n for n, name in codenames.items()),
            release=release,
        )
    return number


def build(request: Request, wish: debian_tools.Wish, workspace: Workspace, progress: Progress) -> Facts:
    """Fill the root filesystem. Raises Unsupported, NoSpace, Remote, Host; Invalid for an unknown package."""
    debian_tools.bootstrap(wish, workspace, progress)
    progress("tidy", 0, None)
    debian_system.keep_keys(workspace.rootfs, wish.keyring)
    debian_system.enable(workspace, ("systemd-networkd.service", "systemd-resolved.service"))
    debian_system.tidy(workspace.rootfs)
    return Facts(
        names=request.names,
        os=request.template,
        release=request.release,
        architecture=request.option("architecture", host_architecture()),
        command=("/sbin/init",),
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
        stop_signal="SIGRTMIN+3",
        template=request.template,
        is_system=True,
    )
