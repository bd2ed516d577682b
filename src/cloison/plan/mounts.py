"""Files of the host that are shown inside: how they are taken hold of, mapped, sealed and attached. Pure.

Everything but the last happens on the host, by descriptor, before anybody inside sees it: who owns the directories
above is nobody in the new process, and only the host may map ids. Then the copy is sealed (`SealMount`): root inside
could otherwise make it writable again with one mount(8), since a mount that came by descriptor has no locked
attributes. What comes to a running instance goes the same way, and is attached by a process that has entered it.
"""

import os

from cloison.kernel.abi import (
    AT_RECURSIVE,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTRIBUTE_OPTIONS,
    MS_PRIVATE,
    O_PATH,
    OPEN_TREE_CLONE,
    PROPAGATION_OPTIONS,
)
from cloison.plan.builder import Builder
from cloison.plan.mount_steps import (
    Fsmount,
    MountSetattr,
    MoveMount,
    OpenTree,
    OpenUserns,
    SealMount,
    Unmount,
)
from cloison.plan.plan import Plan
from cloison.plan.process_steps import Setgroups, Setns, Setresgid, Setresuid
from cloison.plan.steps import NO_SLOT, Create, Open
from cloison.spec.oci import IdMapping, Mount, Spec

MAPPING = "map the ids of "  # and the source: how a refusal is known (runtime.failures)
Maps = tuple[tuple[IdMapping, ...], tuple[IdMapping, ...]]  # of users, of groups
_INIT = 0  # the slot of its pidfd in a plan for a running instance
_MNT_DETACH = 2
_OWN = ("/proc", "/sys")  # of what is below these nothing can be changed that matters


def is_bind(mount: Mount) -> bool:
    """Whether a mount shows files of the host (config.md: the type is then ignored)."""
    return mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options


def split_options(mount: Mount) -> tuple[int, int, int, tuple[str, ...]]:
    """The options of a mount as (attributes to set, to clear, propagation, what the file system itself is told)."""
    attr_set = attr_clear = propagation = 0
    rest = []
    for option in mount.options:
        if option in MOUNT_ATTRIBUTE_OPTIONS:
            to_set, to_clear = MOUNT_ATTRIBUTE_OPTIONS[option]
            attr_set = attr_set & ~to_clear | to_set
            attr_clear = attr_clear & ~to_set | to_clear
        elif option in PROPAGATION_OPTIONS:
            propagation = PROPAGATION_OPTIONS[option][0]
        else:
            rest.append(option)
    if attr_clear & MOUNT_ATTR__ATIME:
        attr_clear |= MOUNT_ATTR__ATIME  # the kernel wants the whole field cleared when it is set anew
    return attr_set, attr_clear, propagation, tuple(rest)


def take_binds(build: Builder, spec: Spec) -> dict[Mount, int]:
    """Take hold of the host's files that are to be shown inside, before the clone: the new process has what is open
    then, and is nobody to the directories above them."""
    known: dict[Maps, int] = {}
    return {mount: _take(build, mount, spec.linux.uid_mappings, known) for mount in spec.mounts if is_bind(mount)}


def compile_attach(title: str, mount: Mount, mappings: tuple[IdMapping, ...]) -> Plan:
    """The plan that gives a running instance, the pidfd of whose init is slot 0, one more mount; `mappings` are those
    of its user namespace, () where it has none. Attaching is the last step: there is nothing to be taken back."""
    build = Builder(title, inherited=("the pidfd of its init",))
    slot = NO_SLOT
    if is_bind(mount):
        slot = _take(build, mount, mappings, {})
    _enter(build, mappings)
    root = build.slot()
    build.host(Open(root, NO_SLOT, "/", O_PATH | os.O_DIRECTORY, 0))
    build.chapter(f"mount {mount.destination}")
    attr_set, _clear, _propagation, rest = split_options(mount)
    if slot == NO_SLOT:
        slot = build.slot()
        build.host(Fsmount(slot, mount.type, mount.source or mount.type, rest, attr_set))
    build.host(MoveMount(slot, root, mount.destination, target_kind(rest)))
    return build.plan()


def compile_detach(title: str, path: str, mappings: tuple[IdMapping, ...], *, is_forced: bool) -> Plan:
    """The plan that takes away what is mounted at `path` in a running instance; `is_forced`: also while it is used."""
    build = Builder(title, inherited=("the pidfd of its init",))
    _enter(build, mappings)
    build.chapter(f"unmount {path}")
    build.host(Unmount(path, _MNT_DETACH if is_forced else 0))
    return build.plan()


def target_kind(rest: tuple[str, ...]) -> Create:
    """What is made where there is no target yet."""
    return Create.FILE if "create=file" in rest else Create.DIRECTORY


def _take(build: Builder, mount: Mount, mappings: tuple[IdMapping, ...], known: dict[Maps, int]) -> int:
    """A copy that belongs to no peer group, unless a propagation is asked for; `known` are the user namespaces that
    are open already."""
    build.chapter(f"take hold of {mount.source}")
    attr_set, attr_clear, propagation, rest = split_options(mount)
    slot, is_recursive = build.slot(), "rbind" in rest
    build.host(OpenTree(slot, NO_SLOT, mount.source, OPEN_TREE_CLONE | (AT_RECURSIVE if is_recursive else 0)))
    build.host(MountSetattr(slot, int(is_recursive), attr_set, attr_clear, propagation or MS_PRIVATE, NO_SLOT))
    if "idmap" in rest or "ridmap" in rest:
        build.chapter(f"{MAPPING}{mount.source}")
        maps = (mount.uid_mappings or mappings, mount.gid_mappings or mappings)
        if maps not in known:
            known[maps] = build.slot()
            build.host(OpenUserns(known[maps], *map(id_map, maps)))
        build.host(MountSetattr(slot, int("ridmap" in rest), MOUNT_ATTR_IDMAP, 0, 0, known[maps]))
    if not mappings or mount.destination.startswith(_OWN):
        return slot
    build.chapter(f"what is said of {mount.source} is not to be changed from inside")
    sealed = build.slot()
    build.host(SealMount(sealed, slot))
    return sealed


def _enter(build: Builder, mappings: tuple[IdMapping, ...]) -> None:
    build.chapter("enter the instance, as its root")
    build.host(Setns(_INIT, CLONE_NEWNS | (CLONE_NEWUSER if mappings else 0)))
    if mappings:
        build.host(Setgroups(()))
        build.host(Setresgid(0))
        build.host(Setresuid(0))


def id_map(mappings: tuple[IdMapping, ...]) -> str:
    """The text of a uid_map or gid_map."""
    return "".join(f"{m.containerID} {m.hostID} {m.size}\n" for m in mappings)
