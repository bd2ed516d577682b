"""What this host contributes to a plan: where an instance's control groups are, and what it may give away at all."""

import os

from cloison.base.errors import Unsupported
from cloison.kernel import capabilities, cgroup_world, cgroups
from cloison.kernel.cgroup_world import CgroupWorld, Hierarchy
from cloison.plan.inputs import CgroupPlace, DirectoryRoot, HostLimits, ImageRoot, OverlayRoot, RootSource
from cloison.runtime.scope import KEEPERS
from cloison.spec.driver import RootFiles

FOLDER = "cloison"  # the one directory of cloison's in each hierarchy
GUEST = "guest"
_HANDED_DOWN = frozenset({"cpu", "cpuset", "io", "memory", "pids"})


# What systemd has a scope's directory in, where there is v1. The others (freezer, cpuset...) it leaves to everybody.
_OF_SYSTEMD = frozenset({"blkio", "cpu", "cpuacct", "devices", "memory", "name=systemd", "pids"})


def root(files: RootFiles) -> RootSource:
    """What storage contributes, as the compiler of plans wants it. Raises Unsupported where mount(8) is missing."""
    if files.image:
        from cloison.kernel import programs

        return ImageRoot(files.image, programs.needed("mount", package="mount"), files.options)
    return OverlayRoot(files.lower, files.writable) if files.lower else DirectoryRoot(files.writable)


def aside(argv: tuple[str, ...]) -> tuple[str, ...]:
    """What runs a command that nobody waits for: setsid(1). Raises Unsupported where that is missing."""
    from cloison.kernel import programs

    return (programs.needed("setsid", package="util-linux"), "--fork", *argv)


def places(instance_id: str, scope: str, *, world: CgroupWorld | None = None) -> tuple[CgroupPlace, ...]:
    """Where the instance lives in every hierarchy of this host, v2 last; a known `world` is not looked at again.

    `scope` is the directory that systemd has left to this installation, below the mount points (`runtime.scope`), and
    empty on other hosts."""
    world = world or cgroup_world.detect()
    return tuple(_place(world, hierarchy, instance_id, scope) for hierarchy in world.hierarchies)


def _place(world: CgroupWorld, hierarchy: Hierarchy, instance_id: str, scope: str) -> CgroupPlace:
    mountpoint, is_v2 = hierarchy.mountpoint, hierarchy.version == 2
    below = _delegated(hierarchy, instance_id, scope) if scope else ""
    top = mountpoint + below
    outer = f"{top}/{FOLDER}/{instance_id}"
    is_tracked = hierarchy == (world.unified() or world.of("name=systemd"))
    keepers = f"/{KEEPERS}" if below and is_tracked else ""
    return CgroupPlace(
        version=hierarchy.version,
        controllers=hierarchy.controllers,
        top=top,
        outer=outer,
        inner=f"{outer}/{GUEST}",
        presets=_cpuset_presets(mountpoint) if not is_v2 and "cpuset" in hierarchy.controllers else (),
        enable=_handed_down(hierarchy, top if below else "") if is_v2 else (),
        is_caller_elsewhere=hierarchy.own_path != (f"{below}{keepers}" or "/"),
        keepers=f"{top}{keepers}" if keepers else "",
        above=_above(mountpoint, below) if is_v2 else (),
    )


def _delegated(hierarchy: Hierarchy, instance_id: str, scope: str) -> str:
    """`scope` where the instance is in it, or will be. One that was started before systemd was asked stays outside."""
    if hierarchy.version == 1 and not _OF_SYSTEMD.intersection(hierarchy.controllers):
        return ""
    if os.path.isdir(f"{hierarchy.mountpoint}/{FOLDER}/{instance_id}"):
        return ""
    is_there = hierarchy.version == 2 or os.path.isdir(hierarchy.mountpoint + scope)
    return scope if is_there else ""


def _handed_down(hierarchy: Hierarchy, top: str) -> tuple[str, ...]:
    """The usual controllers, as far as they reach `top` (empty: the mount point); all where that is yet to be made."""
    offered = cgroups.read(f"{top}/cgroup.controllers") if top else None
    controllers = hierarchy.controllers if offered is None else tuple(offered.split())
    return tuple(name for name in controllers if name in _HANDED_DOWN)


def _above(mountpoint: str, below: str) -> tuple[str, ...]:
    """The directories from the mount point down to the one that has `below`."""
    names = below.split("/")
    return tuple(mountpoint + "/".join(names[:count]) for count in range(1, len(names)))


def _cpuset_presets(top: str) -> tuple[tuple[str, str], ...]:
    """A new v1 cpuset is empty and takes no process until it has CPUs and memory nodes (cpusets.rst)."""
    found = []
    for name in ("cpuset.cpus", "cpuset.mems"):
        value = cgroups.read(f"{top}/{name}")
        if value:
            found.append((name, value))
    return tuple(found)


def directories(of: tuple[CgroupPlace, ...]) -> tuple[tuple[int, tuple[str, ...], str], ...]:
    """The outer directories as `kernel.cgroups` wants them."""
    return tuple((place.version, place.controllers, place.outer) for place in of)


def proc_views(*, is_needed: bool) -> tuple[tuple[str, str], ...]:
    """The files of lxcfs, each with the one that it stands for; none where it does not run.

    Raises Unsupported where there are none, if it `is_needed`."""
    from cloison.kernel import lxcfs

    found = lxcfs.look()
    if is_needed and not found.files:
        state = "is mounted but does not answer" if found.is_mounted else "is not mounted"
        raise Unsupported(
            f"boot.proc_views=true needs lxcfs, which {state} at {found.directory}",
            hint="apt-get install lxcfs, systemctl start lxcfs; or set boot.proc_views=auto, to do without",
        )
    return tuple((f"{found.directory}/{name}", f"/{name}") for name in found.files)


def limits() -> HostLimits:
    """The capabilities that this process could pass on: its bounding set."""
    return HostLimits(capabilities.bounding())
