"""Which control group hierarchies this process sees, and where it sits in each.

There are three worlds: v1 (each controller has a hierarchy of its own, or shares one: `cpu,cpuacct`), v2 (one
tree for all), and the hybrid of both, in which a controller belongs to one of the two. Nobody is asked which
distribution this is, and no path is taken for granted: /proc/self/cgroup names the hierarchies, and
/proc/self/mountinfo says where they are mounted.

    /proc/self/cgroup       4:cpu,cpuacct:/user.slice       number, controllers, where this process sits
                            1:name=systemd:/user.slice      a named hierarchy has no controller
                            0::/user.slice                  v2
    /proc/self/mountinfo    36 31 0:33 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
                                       `- root  `- mount point                   `- type       `- options

Every start asks, so it is cheap: two reads, and `cgroup.controllers` where a v2 tree is mounted.
Source: cgroups(7), cgroup_namespaces(7), proc(5).
"""

import os
from collections.abc import Callable
from typing import Literal

import msgspec

Kind = Literal["v1", "hybrid", "v2", "none"]


class Hierarchy(msgspec.Struct, frozen=True):
    """One mounted hierarchy.

    `controllers`  v1: what shares it, such as ("cpu", "cpuacct") or ("name=systemd",); v2: what its top offers
    `own_path`     where this process sits, below `mountpoint`: "/" or deeper. Where the mount does not show that
                   place (a cgroup namespace, a bind mount of another branch) it is "/", the top of what is shown
    """

    controllers: tuple[str, ...]
    mountpoint: str
    version: int
    own_path: str


class CgroupWorld(msgspec.Struct, frozen=True):
    """All hierarchies that are mounted: v1 by their number, then v2."""

    kind: Kind
    hierarchies: tuple[Hierarchy, ...]

    def of(self, controller: str) -> Hierarchy | None:
        """The hierarchy in which `controller` ("memory", "name=systemd") can be used; None where there is none."""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy
        return None

    def unified(self) -> Hierarchy | None:
        """The v2 tree, with or without controllers; None where it is not mounted."""
        last = self.hierarchies[-1] if self.hierarchies else None
        return last if last is not None and last.version == 2 else None


def detect() -> CgroupWorld:
    """The world of the calling process, now: it may have been moved, so this is not remembered."""
    return parse(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"), _read)


def parse(mountinfo: str, self_cgroup: str, read: Callable[[str], str]) -> CgroupWorld:
    """The world that these two files describe; `read` answers for `cgroup.controllers`, raising OSError or not."""
    mounts = _cgroup_mounts(mountinfo)
    found: list[Hierarchy] = []
    unified: Hierarchy | None = None
    for line in reversed(self_cgroup.splitlines()):
        number, names, path = line.split(":", 2)
        place = path.removesuffix(" (deleted)")
        if number == "0":
            unified = _unified(mounts, place, read)
        elif (hierarchy := _v1(mounts, tuple(names.split(",")), place)) is not None:
            found.append(hierarchy)
    kind: Kind = "hybrid" if found and unified else "v1" if found else "v2" if unified else "none"
    return CgroupWorld(kind, (*found, unified) if unified else tuple(found))


class _Mount(msgspec.Struct, frozen=True):
    root: str
    mountpoint: str
    is_v2: bool
    options: tuple[str, ...]


def _cgroup_mounts(mountinfo: str) -> list[_Mount]:
    """The cgroup mounts, in order; of those stacked on one mount point only the topmost, which comes last."""
    found: dict[str, _Mount] = {}
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        fields = left.split(" ", 5)
        fstype, _, options = right.split(" ", 2)
        if fstype not in ("cgroup", "cgroup2"):
            continue
        root, mountpoint = _unescaped(fields[3]), _unescaped(fields[4])
        found[mountpoint] = _Mount(root, mountpoint, fstype == "cgroup2", tuple(options.split(",")))
    return list(found.values())


def _v1(mounts: list[_Mount], controllers: tuple[str, ...], place: str) -> Hierarchy | None:
    same = [mount for mount in mounts if not mount.is_v2 and controllers[0] in mount.options]
    if not same:
        return None
    mountpoint, own_path = _best(same, place)
    return Hierarchy(controllers, mountpoint, 1, own_path)


def _unified(mounts: list[_Mount], place: str, read: Callable[[str], str]) -> Hierarchy | None:
    same = [mount for mount in mounts if mount.is_v2]
    if not same:
        return None
    mountpoint, own_path = _best(same, place)
    try:
        controllers = tuple(read(f"{mountpoint}/cgroup.controllers").split())
    except OSError:
        controllers = ()  # seen, but not ours to use
    return Hierarchy(controllers, mountpoint, 2, own_path)


def _best(mounts: list[_Mount], place: str) -> tuple[str, str]:
    """The mount that shows most of a hierarchy and this process in it, and where it does so."""
    shown = [(mount, _below(mount.root, place)) for mount in mounts]
    reachable = [(mount, path) for mount, path in shown if path]
    mount, path = min(reachable or shown, key=lambda candidate: len(candidate[0].root))
    return mount.mountpoint, path or "/"


def _below(root: str, place: str) -> str:
    """`place` as seen from `root`, or nothing where it is not below it.

    Both are relative to the cgroup namespace. "/.." stands for what lies outside: a mount made before the
    namespace has such a root, and its directories down to ours have no name that could be read here."""
    if root == "/":
        return "" if f"{place}/".startswith("/../") else place
    if place == root:
        return "/"
    return place[len(root) :] if place.startswith(root + "/") else ""


def _unescaped(field: str) -> str:
    """A field of mountinfo, in which space, tab, newline and backslash are written in octal."""
    if "\\" not in field:
        return field
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(written, meant)
    return field


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return os.fsdecode(file.readall())
