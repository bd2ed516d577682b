"""A tiny system from this host's static BusyBox: no network, no package, about 2 MB, built in a moment.

Its files are in `busybox.root` beside this module. The same BusyBox gives the same layer, byte by byte: nothing in it
depends on the time or on this host.

BusyBox's init (init.c, version 1.35): SIGUSR2 powers off, SIGUSR1 halts, SIGTERM reboots, SIGQUIT restarts init.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Final

from cloison.base.errors import Host, Invalid, Unsupported
from cloison.images.architecture import host_architecture
from cloison.images.image import Facts
from cloison.images.templates.laying import lay_over
from cloison.images.templates.template import Option, Progress, Request, chosen
from cloison.images.workspace import Workspace
from cloison.kernel import process, programs

NAME: Final = "busybox"
SUMMARY: Final = "a tiny system from this host's static BusyBox, without a network"
RELEASES: Final = ()
OPTIONS: Final[tuple[Option, ...]] = ()

_FILES = os.path.join(os.path.dirname(__file__), "busybox.root")
_PACKAGE = "busybox-static"
_DIRECTORIES = {
    "dev": 0o755,
    "home": 0o755,
    "mnt": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
    "usr/local/bin": 0o755,
    "usr/local/sbin": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}
_PT_INTERP = 3  # elf(5): the program header that names a dynamic loader


def resolve(release: str, options: Mapping[str, str]) -> Request:
    """There is one: the BusyBox of this host. Raises Invalid for a release or an option."""
    if release:
        raise Invalid(
            f"the template {NAME!r} has no releases, {release!r} was asked for",
            hint=f"{NAME} is the BusyBox that this host has",
            release=release,
        )
    return Request(NAME, "", chosen(NAME, OPTIONS, options))


def build(request: Request, workspace: Workspace, progress: Progress) -> Facts:
    """Fill the root filesystem. Raises Unsupported where BusyBox is missing or not static, NoSpace."""
    program = programs.needed("busybox", package=_PACKAGE)
    if not _is_static(program):
        raise Unsupported(
            f"{program} needs the libraries of this host", hint=f"apt-get install {_PACKAGE}", program=program
        )
    applets = _applets(program)
    _lay_out(workspace.rootfs, program, applets, progress)
    _forget_this_host(workspace.rootfs)
    return Facts(
        names=request.names,
        os="busybox",
        release=_version(program),
        architecture=host_architecture(),
        command=("/sbin/init",),
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
        stop_signal="SIGUSR2",
        template=NAME,
        is_system=True,
    )


def _is_static(program: str) -> bool:
    """Whether an ELF program of 64 bits asks for no dynamic loader. Source: elf(5)."""
    with open(program, "rb") as file:
        head = file.read(64)
        file.seek(int.from_bytes(head[32:40], "little"))  # e_phoff
        size, count = int.from_bytes(head[54:56], "little"), int.from_bytes(head[56:58], "little")
        table = file.read(size * count)
    return all(int.from_bytes(table[at : at + 4], "little") != _PT_INTERP for at in range(0, size * count, size))


def _applets(program: str) -> tuple[str, ...]:
    """The paths of the commands that this BusyBox is: "bin/ls", "usr/bin/[", …"""
    listed = process.run([program, "--list-full"], timeout_s=10)
    paths = tuple(sorted(listed.stdout.decode().split()))
    if listed.code != 0 or "sbin/init" not in paths:
        raise Host(
            f"{program} does not contain init, or does not list what it contains", hint=f"apt-get install {_PACKAGE}"
        )
    return paths


def _version(program: str) -> str:
    """ "1.35.0", out of "BusyBox v1.35.0 (Debian …) multi-call binary."."""
    words = process.run([program], timeout_s=10).stdout.decode(errors="replace").split()
    return words[1].removeprefix("v") if words[:1] == ["BusyBox"] else ""


def _lay_out(rootfs: str, program: str, applets: tuple[str, ...], progress: Progress) -> None:
    lay_over(_FILES, rootfs)
    for directory in {*_DIRECTORIES, *map(os.path.dirname, applets)}:
        os.makedirs(f"{rootfs}/{directory}", exist_ok=True)
    shutil.copyfile(program, f"{rootfs}/bin/busybox")
    os.chmod(f"{rootfs}/bin/busybox", 0o755)
    os.chmod(f"{rootfs}/etc/shadow", 0o640)
    for done, path in enumerate(applets):
        if path != "bin/busybox":
            os.symlink("/bin/busybox", f"{rootfs}/{path}")
        progress("install", done + 1, len(applets))


def _forget_this_host(rootfs: str) -> None:
    """Give everything the time 0 and every directory its mode, whatever the umask.

    The deepest first: a directory's time changes with its content."""
    for directory, _, files in os.walk(rootfs, topdown=False):
        for name in files:
            os.utime(f"{directory}/{name}", (0, 0), follow_symlinks=False)
        os.chmod(directory, _DIRECTORIES.get(os.path.relpath(directory, rootfs), 0o755))
        os.utime(directory, (0, 0))
