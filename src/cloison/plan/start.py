"""From an OCI specification to the plan that starts it. Pure.

The order is the order in which it happens; `cloison explain NAME` prints it.
"""

from cloison.kernel.abi import (
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    OPEN_TREE_CLONE,
)
from cloison.plan import cgroups, mounts, process, rootfs
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace, DirectoryRoot, HostLimits, NetworkPlace, OverlayRoot, Places, RootSource
from cloison.plan.mount_steps import MoveMount, OpenTree, PivotRoot
from cloison.plan.network_steps import LinkUp, Run, UndoLater
from cloison.plan.plan import Plan
from cloison.plan.process_steps import (
    Clone,
    Detach,
    OpenChildNs,
    Pdeathsig,
    SetDumpable,
    Setgroups,
    Setresgid,
    Setresuid,
    Setsid,
    Unshare,
    WriteChild,
)
from cloison.plan.steps import (
    NO_SLOT,
    Create,
    Listen,
    Monitor,
    Open,
    OpenPty,
    RecvFd,
    Rmdir,
    SendFd,
    Setdomainname,
    Sethostname,
    Unlink,
    WatchOom,
    Write,
)
from cloison.spec.network import Interface
from cloison.spec.oci import IdMapping, Spec


def compile_start(
    title: str,
    spec: Spec,
    *,
    root: RootSource,
    places: tuple[CgroupPlace, ...],
    files: Places,
    host: HostLimits,
    seccomp: bytes = b"",
    writable: tuple[str, ...] = (),
    reboot: tuple[str, ...] = (),
    alarm: tuple[str, ...] = (),
    at_end: tuple[str, ...] = (),
    interfaces: tuple[Interface, ...] = (),
    is_loopback_up: bool = True,
    nft: str = "",
) -> Plan:
    """The plan that starts `spec`, with a monitor as its keeper.

    `seccomp` is the compiled filter (empty: none), `writable` what stays so below a read-only path, `reboot` the
    command that the monitor becomes when the instance reboots itself, `alarm` the one that it runs when a process was
    killed for want of memory, `at_end` one that is run last of all. `interfaces` are for a network of its own; where
    they have rules, `nft` is the program that takes them. Raises Invalid and Unsupported."""
    rootfs.check_mounts(spec)
    build = Builder(title)
    flags = clone_flags(spec)
    build.chapter("leave the caller: its session, its terminal, its control groups")
    build.host(Detach())
    cgroups.leave_callers(build, places)
    cgroups.make(build, places, spec.linux.resources, _owner(spec))
    unified = cgroups.open_unified(build, places)
    bell = _watch_oom(build, places) if alarm else NO_SLOT
    whole = rootfs.mount_image(build, root, files.run_dir)
    trees = rootfs.take_layers(build, whole)
    binds = mounts.take_binds(build, spec)
    socket = _listen(build, files)
    _clone(build, spec, flags, unified)
    place = NetworkPlace(files.run_dir, nft)
    netns = _make_network(build, flags, interfaces, place)
    if flags & CLONE_NEWUSER:
        userns = build.slot()
        build.host(OpenChildNs(userns, "user"))
        rootfs.map_layers(build, trees, userns)
    merged = _inside(build, spec, whole, trees, files, places, host.parameters)
    if _asks_for(spec, "network"):
        _take_up(build, interfaces, place, is_loopback_up=is_loopback_up)
    rootfs.attach_mounts(build, spec, merged, places, binds, host.parameters)
    console, peer, slave = _console(build, spec, merged)
    rootfs.protect(build, spec, merged, writable)
    build.chapter("change the root directory for good")
    build.inside(PivotRoot(merged))
    _name(build, spec)
    build.chapter("a session of its own")
    build.inside(Setsid())
    if slave != NO_SLOT:
        process.take_terminal(build, slave)
    _become(build, spec, host, seccomp)
    build.chapter("stay as its monitor")
    kept = (socket, console, peer, files.log, files.log_size_bytes, files.record, reboot)
    build.host(Monitor(*kept, bell, alarm, netns, cgroups.sampled(places)))
    # The socket stays to the end: without one, what is ending would look as if it were starting.
    epilogue = (Unlink(files.socket), Unlink(files.journal), Rmdir(files.run_dir))
    return build.plan(epilogue=(*epilogue, *((Run(at_end, ""),) if at_end else ())))


def clone_flags(spec: Spec) -> int:
    """The namespaces that the new process begins in: all that are asked for, but for two that come a little later.

    A cgroup namespace has as its top where its maker sits, so it is made once the process has been moved. A time
    namespace takes its offsets only before anybody is in it, so the launcher makes it for its children."""
    return process.namespace_flags(spec) & ~(CLONE_NEWCGROUP | CLONE_NEWTIME)


def _asks_for(spec: Spec, kind: str) -> bool:
    return any(namespace.type == kind for namespace in spec.linux.namespaces)


def _owner(spec: Spec) -> tuple[int, int]:
    """Who the instance's root is on the host."""
    return _root_of(spec.linux.uid_mappings), _root_of(spec.linux.gid_mappings)


def _root_of(mappings: tuple[IdMapping, ...]) -> int:
    return next((m.hostID - m.containerID for m in mappings if m.containerID <= 0 < m.containerID + m.size), 0)


def _listen(build: Builder, files: Places) -> int:
    build.chapter("the monitor's socket")
    run_dir, socket = build.slot(), build.slot()
    build.host(Open(run_dir, NO_SLOT, files.run_dir, cgroups.O_PATH_DIRECTORY, 0))
    name = files.socket.rsplit("/", 1)[1]
    build.host(Listen(socket, run_dir, name))
    return socket


def _watch_oom(build: Builder, places: tuple[CgroupPlace, ...]) -> int:
    """A slot with what tells of out-of-memory kills; none where nobody counts memory. It starts without, if it must."""
    path = cgroups.oom_file(places)
    if not path:
        return NO_SLOT
    build.chapter("hear of processes that are killed for want of memory")
    bell = build.slot()
    build.host(WatchOom(bell, path), optional=True)
    return bell


def _make_network(build: Builder, flags: int, interfaces: tuple[Interface, ...], place: NetworkPlace) -> int:
    """A slot with a network of its own, whose interfaces are also to be asked for their counters at the end."""
    if not flags & CLONE_NEWNET:
        return NO_SLOT
    netns = build.slot()
    build.host(OpenChildNs(netns, "net"), undo=(UndoLater(place.later),))
    if interfaces:
        from cloison.plan import network  # as below: who has none need not know how they are made

        network.attach(build, interfaces, netns, place)
    return netns


def _clone(build: Builder, spec: Spec, flags: int, unified: int) -> None:
    if _asks_for(spec, "time"):
        build.chapter("a clock of its own")
        build.host(Unshare(CLONE_NEWTIME))
        for clock, offset in spec.linux.time_offsets.items():
            build.host(Write(NO_SLOT, "/proc/self/timens_offsets", f"{clock} {offset.secs} {offset.nanosecs}"))
    build.chapter("the new process and its namespaces")
    build.host(Clone(flags, unified))
    if flags & CLONE_NEWUSER:
        build.host(WriteChild("uid_map", mounts.id_map(spec.linux.uid_mappings)))
        build.host(WriteChild("gid_map", mounts.id_map(spec.linux.gid_mappings)))
    if spec.process.oom_score_adj is not None:
        build.host(WriteChild("oom_score_adj", str(spec.process.oom_score_adj)))


def _inside(
    build: Builder,
    spec: Spec,
    root: OverlayRoot | DirectoryRoot,
    trees: rootfs.Trees,
    files: Places,
    places: tuple[CgroupPlace, ...],
    parameters: tuple[str, ...],
) -> int:
    """From the first step of the new process to its root file system; gives the slot of that."""
    build.chapter("the new process ends with its launcher, and nobody looks into it")
    build.inside(Pdeathsig(process.SIGKILL))
    build.inside(SetDumpable(0))
    build.chapter("control groups: move in")
    cgroups.attach(build, places)
    if _asks_for(spec, "cgroup"):
        build.chapter("its own view of the control groups")
        build.inside(Unshare(CLONE_NEWCGROUP))
    merged_later = rootfs.stage(build, files.run_dir)
    if parameters:
        build.chapter("kernel parameters of the new namespaces, while this is root of the host")
        for key in parameters:
            build.inside(Write(NO_SLOT, process.parameter_path(key), spec.linux.sysctl[key]))
    if spec.linux.uid_mappings:
        build.chapter("become root of the new user namespace")
        build.inside(Setgroups(()))
        build.inside(Setresgid(0))
        build.inside(Setresuid(0))
        build.inside(Pdeathsig(process.SIGKILL))
    return rootfs.assemble(build, root, trees, merged_later)


def _take_up(build: Builder, interfaces: tuple[Interface, ...], place: NetworkPlace, *, is_loopback_up: bool) -> None:
    if interfaces:
        from cloison.plan import network

        build.chapter("the network, seen from inside")
        network.take_up(build, interfaces, place, is_loopback_up=is_loopback_up)
    elif is_loopback_up:
        build.chapter("the loopback interface")
        build.inside(LinkUp("lo"))


def _console(build: Builder, spec: Spec, root: int) -> tuple[int, int, int]:
    """A pseudo-terminal of the instance's own devpts as its console: (master, slave kept open, slave inside)."""
    if not spec.process.terminal:
        return NO_SLOT, NO_SLOT, NO_SLOT
    build.chapter("the console: a terminal of the instance's own, kept by the monitor")
    master, slave, tree = build.slot(), build.slot(), build.slot()
    build.inside(OpenPty(master, slave, root, "dev/pts"))
    build.inside(OpenTree(tree, slave, "", OPEN_TREE_CLONE))
    build.inside(MoveMount(tree, root, "dev/console", Create.FILE))
    kept, peer = build.slot(), build.slot()
    for ours, theirs in ((master, kept), (slave, peer)):
        build.inside(SendFd(ours))
        build.host(RecvFd(theirs))
    return kept, peer, slave


def _name(build: Builder, spec: Spec) -> None:
    if spec.hostname:
        build.chapter("its name")
        build.inside(Sethostname(spec.hostname))
    if spec.domainname:
        build.inside(Setdomainname(spec.domainname))


def _become(build: Builder, spec: Spec, host: HostLimits, seccomp: bytes) -> None:
    process.become(
        build,
        spec.process,
        seccomp=seccomp,
        host_capabilities=host.capabilities,
        env=spec.process.env,
        end_with_parent=True,
    )
