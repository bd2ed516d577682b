"""From a record to the OCI runtime specification of its container. Pure.

What a system container finds, and why:

    /proc             its own; what Docker masks is masked, what Docker seals is sealed, but for /proc/sys/net
    /sys              its own and read-only: an init that could write there would start a device manager
    /sys/fs/cgroup    its own subtree, writable: systemd organises its services in it
    /dev              private, with the harmless devices; consoles come from its own devpts
    /run              a tmpfs, as an init expects (systemd.io, "Container Interface")

Source: config.md and config-linux.md of the OCI runtime specification 1.1; Docker's default masks (oci/defaults.go).
"""

from cloison.base.capabilities import CAPABILITIES
from cloison.base.ids import RANGE
from cloison.engine.records import Record
from cloison.spec import seccomp
from cloison.spec.config import Config, network_of
from cloison.spec.oci import (
    Capabilities,
    CpuLimits,
    IdMapping,
    Linux,
    MemoryLimits,
    Mount,
    Namespace,
    PidsLimits,
    Process,
    Resources,
    Root,
    Spec,
    TimeOffset,
    User,
)

# What a system has no business with, even in its own user namespace: the host's clock, kernel modules, ports, LSM.
WITHHELD = ("CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME")
SYSTEM_CAPABILITIES = tuple(name for name in CAPABILITIES if name not in WITHHELD)

MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
SEALED = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
WRITABLE = ("/proc/sys/net",)  # where the network is the instance's own: its init sets parameters here

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_US = 100_000
UNLIMITED = -1
_INERT = ("nosuid", "nodev", "noexec")


def specification(record: Record, *, boottime_ns: int = 0, monotonic_ns: int = 0) -> Spec:
    """The container of `record`. The two clocks are the host's now, for an instance with a clock of its own."""
    config = record.config
    is_own_network = network_of(config) != "host"
    mapping = () if config.security.privileged else (IdMapping(0, record.id_base, RANGE),)
    kinds = ["pid", "mount", "ipc", "uts", "cgroup"]
    kinds += ["network"] if is_own_network else []
    kinds += ["user"] if mapping else []
    kinds += ["time"] if config.boot.own_clock else []
    offsets = {"monotonic": _before(monotonic_ns), "boottime": _before(boottime_ns)} if config.boot.own_clock else {}
    return Spec(
        process=_init(record),
        root=Root("rootfs", config.security.read_only_root),
        hostname=record.name,
        mounts=_mounts(record, is_own_network=is_own_network),
        linux=Linux(
            namespaces=tuple(Namespace(kind) for kind in kinds),
            uid_mappings=mapping,
            gid_mappings=mapping,
            time_offsets=offsets,
            cgroups_path=f"/cloison/{record.id}",
            resources=resources(config),
            seccomp=seccomp.default_profile(SYSTEM_CAPABILITIES) if config.security.seccomp else None,
            masked_paths=MASKED,
            readonly_paths=SEALED,
        ),
    )


def writable_paths(config: Config) -> tuple[str, ...]:
    """What stays writable below a sealed path."""
    return WRITABLE if network_of(config) != "host" else ()


def environment(record: Record) -> tuple[str, ...]:
    """The variables of every process: the image's, then the configuration's."""
    merged = dict(item.split("=", 1) for item in (PATH, *record.env))
    merged |= {"container": "cloison", "container_uuid": machine_uuid(record.id)} | record.config.env
    return tuple(f"{name}={value}" for name, value in merged.items())


def machine_uuid(instance_id: str) -> str:
    """A UUID made of the instance's id: an init takes its machine id from it (systemd.io, "Container Interface")."""
    digits = (instance_id * 3)[:32]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def resources(config: Config) -> Resources:
    """The limits in the words of the specification; what is not limited is not mentioned."""
    limits = config.limits
    return Resources(
        memory=None if limits.memory is None else MemoryLimits(limits.memory),
        cpu=None if limits.cpus is None else CpuLimits(limits.cpus * CPU_PERIOD_US // 1000, CPU_PERIOD_US),
        pids=None if limits.processes is None else PidsLimits(limits.processes),
    )


def changed_resources(before: Config, after: Config) -> Resources:
    """The limits that differ, for a running instance; one that is gone is lifted by name."""
    old, new = resources(before), resources(after)
    return Resources(
        memory=None if old.memory == new.memory else new.memory or MemoryLimits(UNLIMITED),
        cpu=None if old.cpu == new.cpu else new.cpu or CpuLimits(UNLIMITED, CPU_PERIOD_US),
        pids=None if old.pids == new.pids else new.pids or PidsLimits(UNLIMITED),
    )


def capability_sets() -> Capabilities:
    """All that a system's root needs; the ambient set stays empty, as after a real boot."""
    names = SYSTEM_CAPABILITIES
    return Capabilities(bounding=names, effective=names, permitted=names)


def capability_sets_of_a_user() -> Capabilities:
    """Nothing held; the bounding set lets set-user-ID programs inside do their work."""
    return Capabilities(bounding=SYSTEM_CAPABILITIES)


def _init(record: Record) -> Process:
    config = record.config
    return Process(
        args=config.init.command or record.command,
        env=(*environment(record), "TERM=linux"),
        cwd=config.init.cwd,
        terminal=True,
        user=User(config.init.uid, config.init.gid),
        capabilities=capability_sets() if config.init.uid == 0 else capability_sets_of_a_user(),
        no_new_privileges=config.security.no_new_privs,
    )


def _mounts(record: Record, *, is_own_network: bool) -> tuple[Mount, ...]:
    sys = Mount("/sys", "sysfs", "sysfs", (*_INERT, "ro"))
    if not is_own_network:
        # sysfs belongs to a network namespace, and only its owner may mount it: show the host's, sealed
        sys = Mount("/sys", "bind", "/sys", ("rbind", *_INERT, "ro"))
    mounts = [
        Mount("/proc", "proc", "proc", _INERT),
        sys,
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", _INERT),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount(
            "/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
        ),
        Mount("/dev/shm", "tmpfs", "shm", ("nosuid", "nodev", "mode=1777")),
        Mount("/dev/mqueue", "mqueue", "mqueue", _INERT),
    ]
    if record.is_system:
        mounts.append(Mount("/run", "tmpfs", "tmpfs", ("nosuid", "nodev", "mode=755")))
    if not is_own_network:
        mounts.append(Mount("/etc/resolv.conf", "bind", "/etc/resolv.conf", ("bind", "ro", "create=file")))
    return tuple(mounts)


def _before(clock_ns: int) -> TimeOffset:
    """The offset that makes a clock begin at zero now."""
    seconds, rest = divmod(-clock_ns, 1_000_000_000)
    return TimeOffset(seconds, rest)
