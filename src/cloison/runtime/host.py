"""What this host contributes to a plan: where an instance's control groups are, and what it may give away at all."""

from cloison.base.errors import Unsupported
from cloison.kernel import capabilities, cgroup_world, cgroups
from cloison.kernel.cgroup_world import CgroupWorld, Hierarchy
from cloison.plan.inputs import CgroupPlace, HostLimits

FOLDER = "cloison"  # the one directory of cloison's in each hierarchy
GUEST = "guest"
_HANDED_DOWN = frozenset({"cpu", "cpuset", "io", "memory", "pids"})


def places(instance_id: str, folder: str = FOLDER, *, world: CgroupWorld | None = None) -> tuple[CgroupPlace, ...]:
    """Where the instance lives in every hierarchy of this host, v2 last; a known `world` is not looked at again."""
    world = world or cgroup_world.detect()
    return tuple(_place(world, hierarchy, instance_id, folder) for hierarchy in world.hierarchies)


def _place(world: CgroupWorld, hierarchy: Hierarchy, instance_id: str, folder: str) -> CgroupPlace:
    outer = f"{hierarchy.mountpoint}/{folder}/{instance_id}"
    is_v2 = hierarchy.version == 2
    return CgroupPlace(
        version=hierarchy.version,
        controllers=hierarchy.controllers,
        top=hierarchy.mountpoint,
        outer=outer,
        inner=f"{outer}/{GUEST}",
        presets=_cpuset_presets(hierarchy.mountpoint) if not is_v2 and "cpuset" in hierarchy.controllers else (),
        enable=tuple(c for c in hierarchy.controllers if c in _HANDED_DOWN) if is_v2 else (),
        is_caller_elsewhere=hierarchy.own_path != "/",
    )


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
