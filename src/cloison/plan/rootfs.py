"""The root file system and everything mounted on it, as steps.

Layers are taken hold of by the launcher as root of the host, id-mapped to the instance's range, and put together by
an overlay that is mounted *inside* the new user namespace (mounted from outside, overlayfs refuses to write through
an id-mapped upper layer). Until then they wait on a tmpfs that covers the run directory, seen by the new process alone.

    run directory  (tmpfs, in the new mount namespace only)
    |-- 0, 1, ...  the read-only layers, top first
    |-- w          the writable directory: upper and work
    `-- root       the overlay, or the one directory that a root without layers is; which becomes the root

A root in an ext4 of its own is mounted first, on a directory of the run directory, and is one directory from then on.

No path inside the root file system is trusted: targets are resolved beneath the root's descriptor (openat2(2),
RESOLVE_IN_ROOT), and attached by descriptor. Pure.
"""

import os

from cloison.base.errors import Invalid
from cloison.kernel.abi import (
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    O_PATH,
    OPEN_TREE_CLONE,
)
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace, DirectoryRoot, ImageRoot, OverlayRoot, RootSource
from cloison.plan.mount_steps import (
    Fsmount,
    MaskPath,
    MountSetattr,
    MoveMount,
    OpenTree,
    ReadonlyPath,
    RootPropagation,
    Umount,
)
from cloison.plan.mounts import is_bind, split_options, target_kind
from cloison.plan.network_steps import Run
from cloison.plan.steps import NO_SLOT, Create, Fchdir, Mkdir, Open, Symlink, Sysctl
from cloison.spec.oci import Mount, Spec

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")  # OCI config-linux.md, "Default Devices"
LINKS = (
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("dev/ptmx", "pts/ptmx"),
)
_INERT = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV


class Trees:
    """The slots of the detached mounts that the launcher prepared."""

    def __init__(self, layers: tuple[int, ...], writable: int) -> None:
        self.layers = layers
        self.writable = writable


def mount_image(build: Builder, root: RootSource, run_dir: str) -> OverlayRoot | DirectoryRoot:
    """Mount a root that is in an ext4 of its own; gives the directory. mount(8) finds a loop device for a file, and
    takes the one that it has already, should it still be mounted somewhere."""
    if not isinstance(root, ImageRoot):
        return root
    build.chapter("the root file system: mount its disk")
    at = f"{run_dir}/disk"
    build.host(Mkdir(NO_SLOT, at, 0o700), undo=(Umount(at),))
    loop = () if root.image.startswith("/dev/") else ("loop",)
    options = ",".join((*loop, "nodev", "noatime", *root.options))
    build.host(Run((root.mount, "-t", "ext4", "-o", options, root.image, at), ""))
    return DirectoryRoot(at)


def take_layers(build: Builder, root: OverlayRoot | DirectoryRoot) -> Trees:
    """Take hold of what the root file system is made of, before the clone."""
    build.chapter("the root file system: take hold of its layers")
    sources = root.lower if isinstance(root, OverlayRoot) else ()
    writable = root.writable if isinstance(root, OverlayRoot) else root.path
    slots = tuple(build.slot() for _ in sources)
    for slot, path in zip(slots, sources, strict=True):
        build.host(OpenTree(slot, NO_SLOT, path, OPEN_TREE_CLONE))
    last = build.slot()
    build.host(OpenTree(last, NO_SLOT, writable, OPEN_TREE_CLONE))
    if isinstance(root, DirectoryRoot):  # an overlay of a user namespace heeds no devices anyway
        build.host(MountSetattr(last, 0, MOUNT_ATTR_NODEV, 0, MS_PRIVATE, NO_SLOT))
    return Trees(slots, last)


def map_layers(build: Builder, trees: Trees, userns: int) -> None:
    """Shift the ids of the layers into the instance's range: no file is touched for it."""
    build.chapter("id-mapped mounts: files stay unshifted on disk")
    for slot in (*trees.layers, trees.writable):
        build.host(MountSetattr(slot, 0, MOUNT_ATTR_IDMAP, 0, 0, userns))


def stage(build: Builder, run_dir: str) -> int:
    """Cover the run directory with a tmpfs that only the new mount namespace has; gives its slot.

    This is done while the process still is who owns the directories above it: later it is nobody there."""
    build.chapter("nothing that is mounted from here on reaches the host")
    stage_at, staged = build.slot(), build.slot()
    build.inside(RootPropagation(MS_PRIVATE))
    build.inside(Open(stage_at, NO_SLOT, run_dir, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, 0))
    build.inside(Fsmount(staged, "tmpfs", "cloison", ("mode=0755", "size=64k", "uid=0", "gid=0"), _INERT))
    build.inside(MoveMount(staged, stage_at, "", Create.NOTHING))
    return staged


def assemble(build: Builder, root: OverlayRoot | DirectoryRoot, trees: Trees, stage: int) -> int:
    """Put the layers together on the stage; gives the slot of the root."""
    build.chapter("the root file system: put the layers together where nobody else sees them")
    if isinstance(root, DirectoryRoot):
        build.inside(MoveMount(trees.writable, stage, "root", Create.DIRECTORY))
        return trees.writable
    for number, slot in enumerate(trees.layers):
        build.inside(MoveMount(slot, stage, str(number), Create.DIRECTORY))
    build.inside(MoveMount(trees.writable, stage, "w", Create.DIRECTORY))
    build.inside(Fchdir(stage))
    merged = build.slot()
    lower = ":".join(str(number) for number in range(len(trees.layers)))
    options = (f"lowerdir={lower}", "upperdir=w/upper", "workdir=w/work", "userxattr")
    build.inside(Fsmount(merged, "overlay", "cloison", options, 0))
    build.inside(MoveMount(merged, stage, "root", Create.DIRECTORY))
    return merged


def attach_mounts(
    build: Builder,
    spec: Spec,
    root: int,
    places: tuple[CgroupPlace, ...],
    binds: dict[Mount, int],
    written: tuple[str, ...] = (),
) -> None:
    """Every mount of the specification, in its order; devices follow /dev, parameters follow /proc, but
    for those that are `written` already."""
    for mount in spec.mounts:
        build.chapter(f"mount {mount.destination}")
        slot = _attach(build, mount, root, places, binds)
        if mount.destination == "/proc" and mount.type == "proc" and spec.linux.sysctl:
            build.chapter("kernel parameters of the new namespaces")
            for key, value in spec.linux.sysctl.items():
                if key not in written:
                    build.inside(Sysctl(slot, key.replace(".", "/"), value))
        if mount.destination == "/dev" and mount.type == "tmpfs":
            _devices(build, root)


def _attach(build: Builder, mount: Mount, root: int, places: tuple[CgroupPlace, ...], binds: dict[Mount, int]) -> int:
    if mount.type == "cgroup":
        return _attach_cgroups(build, mount, root, places)
    attr_set, _clear, _propagation, rest = split_options(mount)
    if mount in binds:
        slot = binds[mount]
    else:
        slot = build.slot()
        words = tuple(word for word in rest if not word.startswith("create="))
        build.inside(Fsmount(slot, mount.type, mount.source or mount.type, words, attr_set))
    build.inside(MoveMount(slot, root, mount.destination, target_kind(rest)))
    return slot


def _attach_cgroups(build: Builder, mount: Mount, root: int, places: tuple[CgroupPlace, ...]) -> int:
    """The instance's own view of the control groups: the v2 tree where the host has one, else every v1 hierarchy."""
    attr_set, _clear, _propagation, _rest = split_options(mount)
    slot = build.slot()
    if any(place.version == 2 for place in places):
        build.inside(Fsmount(slot, "cgroup2", "cgroup2", (), attr_set))
        build.inside(MoveMount(slot, root, mount.destination, Create.DIRECTORY))
        return slot
    build.inside(Fsmount(slot, "tmpfs", "cgroup", ("mode=0755", "size=64k"), attr_set & ~MOUNT_ATTR_RDONLY))
    build.inside(MoveMount(slot, root, mount.destination, Create.DIRECTORY))
    for place in places:
        name = ",".join(place.controllers)
        options = ("none", name) if name.startswith("name=") else place.controllers
        one = build.slot()
        build.inside(Fsmount(one, "cgroup", "cgroup", options, attr_set))
        build.inside(MoveMount(one, root, f"{mount.destination}/{name.removeprefix('name=')}", Create.DIRECTORY))
    return slot


def _devices(build: Builder, root: int) -> None:
    """The device nodes are the host's own, attached one by one: no instance may make a node."""
    build.chapter("a private /dev")
    for name in DEVICES:
        slot = build.slot()
        build.inside(OpenTree(slot, NO_SLOT, f"/dev/{name}", OPEN_TREE_CLONE))
        build.inside(MoveMount(slot, root, f"dev/{name}", Create.FILE))
    for path, target in LINKS:
        build.inside(Symlink(root, path, target))


def protect(build: Builder, spec: Spec, root: int, writable: tuple[str, ...]) -> None:
    """Mask what an instance has no business to read, seal what it may only read.

    What is `writable` is taken hold of before the seal and attached over it afterwards."""
    build.chapter("hide and seal parts of /proc and /sys")
    kept = tuple((build.slot(), path) for path in writable)
    for slot, path in kept:
        build.inside(OpenTree(slot, root, path, OPEN_TREE_CLONE))
    if spec.linux.masked_paths:
        null = build.slot()
        build.inside(Open(null, NO_SLOT, "/dev/null", O_PATH | os.O_NOFOLLOW, 0))
        for path in spec.linux.masked_paths:
            build.inside(MaskPath(root, path, null))
    for path in spec.linux.readonly_paths:
        build.inside(ReadonlyPath(root, path))
    for slot, path in kept:
        build.inside(MoveMount(slot, root, path, Create.NOTHING))
    if spec.root.readonly:
        build.chapter("a read-only root")
        build.inside(MountSetattr(root, 0, MOUNT_ATTR_RDONLY, 0, 0, NO_SLOT))


def check_mounts(spec: Spec) -> None:
    """Raises Invalid for a mount that cannot be planned."""
    for mount in spec.mounts:
        if not mount.destination.startswith("/"):
            raise Invalid(f"mount target {mount.destination!r} must be an absolute path inside the instance")
        if is_bind(mount) and not mount.source.startswith("/"):
            raise Invalid(f"mount source {mount.source!r} must be an absolute path of the host")
