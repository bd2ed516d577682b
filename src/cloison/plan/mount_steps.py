"""The steps on mounts, a part of the table in `cloison.plan.steps`."""

from cloison.plan.fields import Hex, Int, Out, Slot, Step, Text, Texts


class OpenTree(Step, frozen=True):
    """Take hold of a mount, or with OPEN_TREE_CLONE of a detached copy of it.

    `path` is resolved inside `root` (RESOLVE_IN_ROOT), or on the host where `root` is none."""

    kind, number, source = "open_tree", 10, "open_tree(2)"
    out: Out
    root: Slot
    path: Text
    flags: Hex


class MountSetattr(Step, frozen=True):
    """Set the attributes of a mount: read-only, nosuid, propagation, or an id map (`userns` is not none)."""

    kind, number, source = "mount_setattr", 11, "mount_setattr(2)"
    tree: Slot
    recursive: Int
    set: Hex
    clear: Hex
    propagation: Hex
    userns: Slot


class Fsmount(Step, frozen=True):
    """Make a new mount of a file system, still attached to nothing.

    `options` are `key=value` or a bare flag. Paths in them are relative to the working directory."""

    kind, number, source = "fsmount", 12, "fsopen(2), fsconfig(2), fsmount(2)"
    out: Out
    fstype: Text
    mount_source: Text
    options: Texts
    attr: Hex


class MoveMount(Step, frozen=True):
    """Attach a mount at `path`, resolved inside `root`, making the target where `create` says so."""

    kind, number, source = "move_mount", 13, "move_mount(2), openat2(2)"
    tree: Slot
    root: Slot
    path: Text
    create: Int


class MaskPath(Step, frozen=True):
    """Hide a file behind the null device, a directory behind an empty read-only tmpfs; a missing one is fine.

    `null` is an O_PATH descriptor of the host's null device, checked to be the device 1:3."""

    kind, number, source = "mask_path", 14, "open_tree(2), move_mount(2)"
    root: Slot
    path: Text
    null: Slot


class ReadonlyPath(Step, frozen=True):
    """Make a path read-only by a read-only copy of its mount over it; a missing one is fine."""

    kind, number, source = "readonly_path", 15, "mount_setattr(2)"
    root: Slot
    path: Text


class PivotRoot(Step, frozen=True):
    """Make `root` the root directory and let go of the old one for good."""

    kind, number, source = "pivot_root", 16, "pivot_root(2)"
    root: Slot


class RootPropagation(Step, frozen=True):
    """Set the propagation of every mount the new process sees: nothing travels back to the host."""

    kind, number, source = "root_propagation", 17, "mount_setattr(2)"
    propagation: Hex


class Umount(Step, frozen=True):
    """Take a mount away, and the file or empty directory that it was on; neither need be there."""

    kind, number, source = "umount", 84, "umount2(2), unlink(2), rmdir(2)"
    path: Text


class SealMount(Step, frozen=True):
    """A copy of a detached mount, with those in it, whose attributes stay as they are: root of another user namespace
    can neither make it writable again nor take away what is mounted in it."""

    kind, number, source = "seal_mount", 90, "mount_namespaces(7)"
    out: Out
    tree: Slot


class OpenUserns(Step, frozen=True):
    """Take hold of a user namespace with these id maps, in which nobody is: for an id-mapped mount."""

    kind, number, source = "open_userns", 91, "user_namespaces(7)"
    out: Out
    uid_map: Text
    gid_map: Text


class Unmount(Step, frozen=True):
    """Take away what is mounted at a path; the directory stays. EBUSY while somebody uses it, but for MNT_DETACH."""

    kind, number, source = "unmount", 92, "umount2(2)"
    path: Text
    flags: Hex
