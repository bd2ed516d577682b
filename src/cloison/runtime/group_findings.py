"""The judgement on a host's control groups: who manages them, and each kind of limit with what it needs. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from cloison.kernel.cgroup_world import Hierarchy
from cloison.runtime.finding import REQUIRED, Finding, tried
from cloison.runtime.survey import Survey

TOPIC: Final = "Control groups"
_CONTROLLERS: Final = (
    (("memory",), "for limits.memory"),
    (("cpu",), "for limits.cpus and limits.cpu_weight"),
    (("pids",), "for limits.processes"),
    (("cpuacct", "cpu"), "for CPU time in `cloison info`"),
    (("cpuset",), "for limits.cpu_set"),
    (("io", "blkio"), "for limits.io"),
    (("hugetlb",), "for limits.hugepages"),
)
_WORLDS: Final = {
    "v1": "v1: each controller in a hierarchy of its own",
    "hybrid": "hybrid: controllers on v1, and a v2 tree beside them",
    "v2": "v2: one tree for all",
}


class _Ability(NamedTuple):
    """A limit that some kernels' controllers do not have: the file that says so, on v2 or v1."""

    name: str
    controllers: tuple[str, ...]
    files: tuple[str, ...]
    needed: str
    hint: str


_ABILITIES: Final = (
    _Ability(
        "limits of swap",
        ("memory",),
        ("memory.swap.max", "memory.memsw.limit_in_bytes"),
        "for limits.swap",
        "boot with swapaccount=1, and a kernel with CONFIG_SWAP",
    ),
    _Ability(
        "quotas of CPU time",
        ("cpu",),
        ("cpu.max", "cpu.cfs_quota_us"),
        "for limits.cpus",
        "use a kernel with CONFIG_CFS_BANDWIDTH",
    ),
    _Ability(
        "bursts of CPU time",
        ("cpu",),
        ("cpu.max.burst", "cpu.cfs_burst_us"),
        "for limits.cpu_burst",
        "use Linux 5.14 or later, with CONFIG_CFS_BANDWIDTH",
    ),
    _Ability(
        "rates of disks",
        ("io", "blkio"),
        ("io.max", "blkio.throttle.read_bps_device"),
        "for limits.io.DISK.read_bps and its like",
        "use a kernel with CONFIG_BLK_DEV_THROTTLING",
    ),
    _Ability(
        "weights of disks",
        ("io", "blkio"),
        ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"),
        "for limits.io.weight",
        "modprobe bfq, or use a kernel with CONFIG_BLK_CGROUP_IOCOST or CONFIG_BFQ_GROUP_IOSCHED",
    ),
)


def control_groups(host: Survey) -> Iterator[Finding]:
    """All about them, in order."""
    world = host.world
    if world.kind == "none":
        hint = "mount -t cgroup2 none /sys/fs/cgroup"
        yield Finding(TOPIC, "hierarchies", "missing", "for limits and for systemd inside", "none is mounted", hint)
        return
    yield Finding(TOPIC, "hierarchies", "ok", "for limits", _WORLDS[world.kind])
    yield _manager(host)
    for names, needed in _CONTROLLERS:
        yield _controller(host, names, needed)
    for ability in _ABILITIES:
        if _has_controller(host, ability):
            yield _ability(host, ability)
    yield _freezer(host)
    yield _kill(host)
    yield _device_rules(host)
    yield _tree(host)


def _manager(host: Survey) -> Finding:
    """Who has the say at the top, and whether it can be asked."""
    name, needed = "manager", "for groups that nobody else writes to"
    if not host.is_systemd:
        return Finding(TOPIC, name, "ok", needed, "nobody: groups are made at the top of each hierarchy (cgroupfs)")
    if host.facts.euid:
        return Finding(
            TOPIC, name, "limited", needed, f"systemd, which {host.user} cannot ask for groups", "run as root"
        )
    lacking = [program for program in ("systemd-run", "systemctl") if host.programs.get(program) is None]
    if lacking:
        hint = "apt-get install --no-install-recommends systemd"
        detail = f"systemd, which cannot be asked without {' and '.join(lacking)}"
        return Finding(TOPIC, name, "missing", REQUIRED, detail, hint)
    return Finding(TOPIC, name, "ok", needed, "systemd: groups are in a scope that it delegates, in cloison.slice")


def _controller(host: Survey, names: tuple[str, ...], needed: str) -> Finding:
    name = "/".join(names)
    hierarchy = _hierarchy(host, names)
    if hierarchy is None:
        hint = (
            "boot without cgroup_disable=, with a kernel that has it; on v2 it is in the top's cgroup.controllers then"
        )
        return Finding(TOPIC, name, "missing", needed, "in no hierarchy that is mounted", hint)
    return _usable(host, hierarchy, name, needed)


def _hierarchy(host: Survey, names: tuple[str, ...]) -> Hierarchy | None:
    return next((found for found in map(host.world.of, names) if found is not None), None)


def _usable(host: Survey, hierarchy: Hierarchy, name: str, needed: str) -> Finding:
    where = f"v{hierarchy.version} in {hierarchy.mountpoint}"
    if hierarchy.mountpoint not in host.writable:
        hint = "run as root; inside another container, ask for its control groups to be writable (delegated)"
        return Finding(TOPIC, name, "limited", needed, f"{where}, not for {host.user} to write", hint)
    return Finding(TOPIC, name, "ok", needed, where)


def _has_controller(host: Survey, ability: _Ability) -> bool:
    """Where it is missing altogether, that has been said."""
    return _hierarchy(host, ability.controllers) is not None


def _ability(host: Survey, ability: _Ability) -> Finding:
    found = [file for file in ability.files if file in host.limit_files.names]
    if not found and host.limit_files.unseen.intersection(ability.controllers):
        detail = "not known before the first instance runs: nobody has been handed the controller yet"
        return Finding(TOPIC, ability.name, "ok", ability.needed, detail)
    if not found:
        detail = f"no group has {' or '.join(ability.files)}"
        return Finding(TOPIC, ability.name, "missing", ability.needed, detail, ability.hint)
    if ability.needed == "for limits.io.weight":
        return _weights(host, ability, found[0])
    return Finding(TOPIC, ability.name, "ok", ability.needed, found[0])


def _weights(host: Survey, ability: _Ability, file: str) -> Finding:
    """A weight is taken by any kernel that has a file for it, and counts only on disks that somebody weighs."""
    weighed = host.limit_files.weighed
    if weighed:
        words = ", ".join(f"{disk} by {who}" for disk, who in weighed)
        return Finding(TOPIC, ability.name, "ok", ability.needed, f"{file}; {words}")
    disk = next(iter(host.limit_files.disks), "DISK")
    hint = f"echo bfq >/sys/block/{disk}/queue/scheduler, for each disk (modprobe bfq first)"
    if file == "io.weight":
        hint += "; or switch io.cost.qos on for it"
    return Finding(TOPIC, ability.name, "limited", ability.needed, f"{file}, but nothing weighs on any disk", hint)


def _freezer(host: Survey) -> Finding:
    """Every group of a v2 tree can be frozen, also without a controller."""
    name, needed, unified = "freezer", "for freezing instances", host.world.unified()
    return _usable(host, unified, name, needed) if unified else _controller(host, (name,), needed)


def _kill(host: Survey) -> Finding:
    """How all processes of an instance are ended."""
    name, needed = "killing a whole group", "for instances that fork faster than they can be killed"
    if "cgroup.kill" in host.limit_files.names:
        return Finding(TOPIC, name, "ok", needed, "cgroup.kill")
    freezer = host.world.unified() or host.world.of("freezer")
    if freezer is not None:
        return Finding(TOPIC, name, "ok", needed, "frozen, killed and thawed: this kernel has no cgroup.kill")
    detail = "one by one: there is neither cgroup.kill nor a freezer"
    return Finding(TOPIC, name, "limited", needed, detail, "mount a cgroup v2 tree, with Linux 5.14 or later")


def _device_rules(host: Survey) -> Finding:
    """The controller of v1 where there is one, else BPF programs, which are tried."""
    name, needed = "devices", "for limits.devices, and for privileged containers"
    hierarchy = host.world.of("devices")
    if hierarchy is not None:
        return _usable(host, hierarchy, name, needed)
    if host.world.unified() is None:
        return _controller(host, ("devices",), needed)
    found = tried(TOPIC, name, host.facts.answers.device_filter, needed, "use a kernel with CONFIG_CGROUP_BPF; as root")
    return Finding(TOPIC, name, "ok", needed, "v2, by BPF programs") if found.status == "ok" else found


def _tree(host: Survey) -> Finding:
    unified = host.world.unified()
    has_tree = unified is not None or host.world.of("name=systemd") is not None
    return Finding(
        TOPIC,
        "a tree without limits",
        "ok" if has_tree else "missing",
        "for systemd inside",
        "v2" if unified else "v1, name=systemd" if has_tree else "neither v2 nor name=systemd is mounted",
        ""
        if has_tree
        else "make /sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd",
    )
