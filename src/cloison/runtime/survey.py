"""Everything about this host that `cloison check` judges, gathered once, so that the judging is pure."""

import os
from typing import Final

import msgspec

from cloison.base.errors import Unsupported
from cloison.kernel import cgroup_world, inventory, limit_files, lxcfs, probe, systemd
from cloison.kernel.cgroup_world import CgroupWorld
from cloison.kernel.inventory import Space
from cloison.kernel.limit_files import LimitFiles
from cloison.kernel.lxcfs import Lxcfs
from cloison.kernel.probe import HostFacts, Privileges
from cloison.runtime import launcher

PROGRAMS: Final = (
    *(
        "busybox",
        "debootstrap",
        "dnsmasq",
        "lxcfs",
        "mmdebstrap",
        "newgidmap",
        "newuidmap",
        "nft",
        "setpriv",
        "systemctl",
        "systemd-run",
        "unshare",
    ),
    *("qemu-system-aarch64", "qemu-system-x86_64"),
)
CEILINGS: Final = (
    *("fs.inotify.max_user_instances", "fs.inotify.max_user_watches", "kernel.keys.maxkeys", "kernel.pid_max"),
    *("kernel.pty.max", "kernel.threads-max", "user.max_net_namespaces", "user.max_user_namespaces"),
)
SWITCHES: Final = ("kernel.apparmor_restrict_unprivileged_userns", "kernel.unprivileged_userns_clone")
DEVICES: Final = ("/dev/fuse", "/dev/kvm", "/dev/net/tun")


class Survey(msgspec.Struct, frozen=True):
    """A host as it was found. What is missing is None, or not in its tuple."""

    facts: HostFacts
    privileges: Privileges
    world: CgroupWorld
    writable: frozenset[str]  # the mount points of hierarchies in which this user may make groups
    space: Space
    user: str
    subuids: tuple[tuple[int, int], ...]
    subgids: tuple[tuple[int, int], ...]
    programs: dict[str, str | None]
    is_busybox_static: bool
    parameters: dict[str, int | None]  # CEILINGS and SWITCHES
    devices: tuple[str, ...]  # those of DEVICES that can be opened
    security_modules: str  # "lockdown,capability,yama,apparmor"
    libseccomp: str | None
    launcher: str | None
    lxcfs: Lxcfs
    limit_files: LimitFiles
    is_systemd: bool  # it is process 1, and manages the control groups


def host_facts(directory: str, *, is_fresh: bool = False) -> HostFacts:
    """What the kernel can do for instances whose files are below `directory`; kept there for this boot."""
    return probe.facts(f"{directory}/cache/host.json", directory, is_fresh=is_fresh)


def survey(directory: str) -> Survey:
    """This host, for instances whose files are below `directory`. Its features are probed anew."""
    facts = host_facts(directory, is_fresh=True)
    world = cgroup_world.detect()
    programs = {name: inventory.program(name) for name in PROGRAMS}
    busybox = programs["busybox"]
    return Survey(
        facts=facts,
        privileges=probe.privileges(),
        world=world,
        writable=frozenset(h.mountpoint for h in world.hierarchies if os.access(h.mountpoint, os.W_OK | os.X_OK)),
        space=inventory.space(facts.directory),
        user=inventory.user_name(facts.euid),
        subuids=inventory.subordinate_ids("/etc/subuid", facts.euid),
        subgids=inventory.subordinate_ids("/etc/subgid", facts.euid),
        programs=programs,
        is_busybox_static=busybox is not None and inventory.is_static(busybox),
        parameters={name: inventory.ceiling(name) for name in (*CEILINGS, *SWITCHES)},
        devices=tuple(path for path in DEVICES if os.access(path, os.R_OK | os.W_OK)),
        security_modules=inventory.setting("/sys/kernel/security/lsm") or "",
        libseccomp=_libseccomp(),
        launcher=_launcher(),
        lxcfs=lxcfs.look(),
        limit_files=limit_files.look(world),
        is_systemd=systemd.is_manager(),
    )


def _libseccomp() -> str | None:
    from cloison.kernel import seccomp

    try:
        return seccomp.library_path()
    except Unsupported:
        return None


def _launcher() -> str | None:
    try:
        return launcher.program()
    except Unsupported:
        return None
