"""What is changed in a Debian root filesystem after its installation. Everything of this host leaves it."""

import os
import shutil
from glob import glob

from cloison.base.errors import Host
from cloison.images.templates import debian_tools
from cloison.images.templates.laying import lay_over
from cloison.images.workspace import Workspace
from cloison.kernel import programs

_FILES = os.path.join(os.path.dirname(__file__), "debian.root")

# The tools copy the host's name and resolver into the tree, write down how they reached the archives, and leave logs.
_REMOVED = (
    "etc/hostname",
    "etc/.resolv.conf.systemd-resolved.bak",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/ssh/ssh_host_*",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*_*",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/*.log",
    "var/log/apt/*",
    "debootstrap",
)
# Units about the kernel, which a container shares with its host: they fail, or take time to find that out.
_FOR_MACHINES = (
    "e2scrub_reap.service",
    "modprobe@.service",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-journald-audit.socket",
    "systemd-modules-load.service",
)
_NOT_IN_CONTAINERS = "[Unit]\nConditionVirtualization=!container\n"
_OWN_KEYS = "etc/apt/keyrings"
_EMPTIED = ("dev", "run", "tmp", "var/tmp")
_STUB = "../run/systemd/resolve/stub-resolv.conf"


def enable(workspace: Workspace, units: tuple[str, ...]) -> None:
    """Have these units started at boot, by the system's own systemctl. Raises Host."""
    systemctl = [programs.needed("chroot", package="coreutils"), workspace.rootfs, "systemctl"]
    said: list[str] = []
    env = debian_tools.environment(workspace)
    # Waiting for the network delays whoever asks for "online"; and there may be no network at all.
    for words in (["enable", *units], ["disable", "systemd-networkd-wait-online.service"]):
        if debian_tools.follow([*systemctl, *words], workspace, said.append, env) != 0:
            raise Host(f"systemctl {words[0]} failed in the new root filesystem: {'; '.join(said[-2:])}")


def keep_keys(rootfs: str, keyring: str) -> None:
    """Have apt inside find the keys of its archives, which this host has in `keyring`: where no package brings them
    under the same name, they come along. Source: sources.list(5), "signed-by"."""
    sources = f"{rootfs}/etc/apt/sources.list"
    if not keyring or os.path.exists(f"{rootfs}{keyring}") or not os.path.isfile(sources):
        return
    with open(sources) as file:
        text = file.read()
    os.makedirs(f"{rootfs}/{_OWN_KEYS}", 0o755, exist_ok=True)
    kept = f"{_OWN_KEYS}/{os.path.basename(keyring)}"
    shutil.copyfile(keyring, f"{rootfs}/{kept}")
    os.chmod(f"{rootfs}/{kept}", 0o644)
    with open(sources, "w") as file:
        file.write(text.replace(f"signed-by={keyring}]", f"signed-by=/{kept}]"))


def tidy(rootfs: str) -> None:
    """Remove what belongs to this host or to the installation, and add what a container needs."""
    for pattern in _REMOVED:
        for path in glob(f"{rootfs}/{pattern}"):
            _remove(path)
    for directory in _EMPTIED:
        for entry in os.scandir(f"{rootfs}/{directory}"):
            _remove(entry.path)
    with open(f"{rootfs}/etc/machine-id", "w") as file:
        os.fchmod(file.fileno(), 0o444)  # empty, not missing: each instance gets its own when it starts, machine-id(5)
    if os.path.exists(f"{rootfs}/lib/systemd/systemd-resolved"):
        if os.path.lexists(f"{rootfs}/etc/resolv.conf"):
            os.unlink(f"{rootfs}/etc/resolv.conf")
        os.symlink(_STUB, f"{rootfs}/etc/resolv.conf")
    lay_over(_FILES, rootfs)
    for unit in _FOR_MACHINES:
        _write(f"{rootfs}/etc/systemd/system/{unit}.d", "container.conf", _NOT_IN_CONTAINERS)


def _write(directory: str, name: str, text: str) -> None:
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o755)
    with open(f"{directory}/{name}", "w") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
