"""From a record to the OCI runtime specification of its container. Pure.

What a system container finds, and why:

    /proc             its own; what Docker masks is masked, what Docker seals is sealed, but for /proc/sys/net
    /sys              its own and read-only: an init that could write there would start a device manager
    /sys/fs/cgroup    its own subtree, writable: systemd organises its services in it
    /dev              private, with the harmless devices; consoles come from its own devpts
    /run              a tmpfs, as an init expects (systemd.io, "Container Interface")
    /proc/meminfo...  where lxcfs runs on the host: with the instance's limits, not the machine's size

Source: config.md and config-linux.md of the OCI runtime specification 1.1; Docker's default masks (oci/defaults.go).
"""

from cloison.base import units
from cloison.base.capabilities import CAPABILITIES
from cloison.base.errors import Bug
from cloison.base.ids import RANGE
from cloison.engine.records import Record
from cloison.spec import seccomp
from cloison.spec.config import Config, network_of
from cloison.spec.driver import LiveLimits
from cloison.spec.limits import CPU_PERIOD_US, Amount, DeviceEntry, Limits, Rates, Share, page_bytes
from cloison.spec.oci import (
    BlockIo,
    Capabilities,
    CpuLimits,
    DeviceRule,
    HugepageLimit,
    IdMapping,
    Linux,
    MemoryLimits,
    Mount,
    Namespace,
    PidsLimits,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
    ThrottleDevice,
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
DOMAINNAME = "kernel.domainname"
MIN_SHARES, MAX_SHARES = 2, 262_144  # kernel/sched/sched.h
# An unprivileged container can make no device nodes. A privileged one may make all, and use those that harm nobody: not
# the disks of the host, its memory, its kernel's log, its terminals (5:1 is the console of the host).
PRIVILEGED_DEVICES = (
    DeviceRule(allow=False),
    DeviceRule(True, "c", access="m"),
    DeviceRule(True, "b", access="m"),
    DeviceRule(True, "c", 1, 3),  # null
    DeviceRule(True, "c", 1, 5),  # zero
    DeviceRule(True, "c", 1, 7),  # full
    DeviceRule(True, "c", 1, 8),  # random
    DeviceRule(True, "c", 1, 9),  # urandom
    DeviceRule(True, "c", 5, 0),  # tty
    DeviceRule(True, "c", 5, 2),  # ptmx
    DeviceRule(True, "c", 136),  # the terminals of a devpts, which open only through it
)
_INERT = ("nosuid", "nodev", "noexec")


def specification(
    record: Record,
    *,
    boottime_ns: int = 0,
    monotonic_ns: int = 0,
    proc_views: tuple[tuple[str, str], ...] = (),
    mounts: tuple[Mount, ...] = (),
) -> Spec:
    """The container of `record`. The two clocks are the host's now, for an instance with a clock of its own.

    `proc_views` are files of the host that are shown in the place of some of /proc and /sys: (host's, instance's);
    `mounts` are those of its configuration."""
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
        domainname=config.limits.sysctls.get(DOMAINNAME, ""),
        mounts=(*_mounts(record, is_own_network=is_own_network), *map(_view, proc_views), *mounts),
        linux=Linux(
            namespaces=tuple(Namespace(kind) for kind in kinds),
            uid_mappings=mapping,
            gid_mappings=mapping,
            time_offsets=offsets,
            cgroups_path=f"/cloison/{record.id}",
            resources=resources(config),
            seccomp=seccomp.default_profile(SYSTEM_CAPABILITIES) if config.security.seccomp else None,
            sysctl=sysctls(config),
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
    """The limits of the control groups in the words of the specification; what is not limited is not mentioned.

    The configuration is one that `cloison.engine.limits` has resolved: no part of the host's, no name of a disk."""
    limits = config.limits
    unified = dict(limits.raw)
    if limits.io_weight is not None:
        unified["io.weight"] = str(limits.io_weight)
    return Resources(
        memory=_memory(limits),
        cpu=_cpu(limits),
        pids=None if limits.processes is None else PidsLimits(limits.processes),
        block_io=_block_io(limits.io),
        hugepage_limits=tuple(
            HugepageLimit(kernel_size(page_bytes(name)), _bytes(limits.hugepages[name]))
            for name in sorted(limits.hugepages, key=page_bytes)
        ),
        devices=device_rules(config),
        unified=unified,
    )


def device_rules(config: Config) -> tuple[DeviceRule, ...]:
    """What may be done with devices. The configured list follows the one that every privileged container has; `deny a`
    or `allow a` in it begins anew."""
    usual = PRIVILEGED_DEVICES if config.security.privileged else ()
    return (*usual, *(_device_rule(entry) for entry in config.limits.devices))


def live_limits(config: Config) -> LiveLimits:
    """All limits of a resolved configuration, as a driver changes them."""
    return LiveLimits(
        resources(config), rlimits(config), {**sysctls(config), **_domainname(config)}, config.limits.oom_score
    )


def rlimits(config: Config) -> tuple[Rlimit, ...]:
    """The limits of each process."""
    found = sorted(config.limits.rlimits.items())
    return tuple(Rlimit(f"RLIMIT_{name.upper()}", bounds.soft, bounds.hard) for name, bounds in found)


def sysctls(config: Config) -> dict[str, str]:
    """The kernel parameters that a start writes: all but the domain name, for which there is a system call."""
    return {name: value for name, value in sorted(config.limits.sysctls.items()) if name != DOMAINNAME}


def _domainname(config: Config) -> dict[str, str]:
    return {name: value for name, value in config.limits.sysctls.items() if name == DOMAINNAME}


def _memory(limits: Limits) -> MemoryLimits | None:
    if limits.memory is limits.memory_soft is limits.swap is None:
        return None
    limit = None if limits.memory is None else _bytes(limits.memory)
    return MemoryLimits(
        limit,
        None if limits.memory_soft is None else _bytes(limits.memory_soft),
        None if limits.swap is None else _bytes(limits.swap) + (limit or 0),
    )


def _cpu(limits: Limits) -> CpuLimits | None:
    found = CpuLimits(
        quota=None if limits.cpus is None else limits.cpus * CPU_PERIOD_US // 1000,
        period=None if limits.cpus is None else CPU_PERIOD_US,
        burst=limits.cpu_burst_us,
        shares=None if limits.cpu_weight is None else shares(limits.cpu_weight),
        cpus=limits.cpu_set,
    )
    return None if found == CpuLimits() else found


def shares(weight: int) -> int:
    """The shares of v1, of which 1024 are usual, for a weight of v2, of which 100 is: both in the kernel's ranges."""
    return min(max((weight * 1024 + 50) // 100, MIN_SHARES), MAX_SHARES)


def _block_io(disks: dict[str, Rates]) -> BlockIo | None:
    if not disks:
        return None

    def throttles(rate: str) -> tuple[ThrottleDevice, ...]:
        found = [(name, getattr(disks[name], rate)) for name in sorted(disks)]
        return tuple(ThrottleDevice(*_numbers(name), value) for name, value in found if value is not None)

    return BlockIo(
        throttle_read_bps_device=throttles("read_bps"),
        throttle_write_bps_device=throttles("write_bps"),
        throttle_read_iops_device=throttles("read_iops"),
        throttle_write_iops_device=throttles("write_iops"),
    )


def _numbers(disk: str) -> tuple[int, int]:
    major, colon, minor = disk.partition(":")
    if not colon:
        raise Bug(f"the disk {disk} has not been looked up")
    return int(major), int(minor)


def _device_rule(entry: DeviceEntry) -> DeviceRule:
    if entry.path:
        raise Bug(f"the device {entry.path} has not been looked up")
    return DeviceRule(entry.allow, entry.type, entry.major, entry.minor, entry.access)


def _bytes(amount: Amount) -> int:
    if isinstance(amount, Share):
        raise Bug(f"{amount} of the host's memory has not been computed")
    return amount


def kernel_size(size_bytes: int) -> str:
    """As the kernel writes the size of a huge page: "2MB" (cgroup-v2.rst, "HugeTLB")."""
    return f"{units.exact_size(size_bytes)}B"


def capability_sets() -> Capabilities:
    """All that a system's root needs; the ambient set stays empty, as after a real boot."""
    names = SYSTEM_CAPABILITIES
    return Capabilities(bounding=names, effective=names, permitted=names)


def capability_sets_of_a_user() -> Capabilities:
    """Nothing held; the bounding set lets set-user-ID programs inside do their work."""
    return Capabilities(bounding=SYSTEM_CAPABILITIES)


def _init(record: Record) -> Process:
    config = record.config
    user = _init_user(record)
    env = environment(record)
    home = (f"HOME={record.runner.home}",) if record.runner.home and user.uid == record.runner.uid else ()
    return Process(
        args=config.init.command or record.command,
        env=(*(() if any(each.startswith("HOME=") for each in env) else home), *env, "TERM=linux"),
        cwd=config.init.cwd or record.runner.cwd,
        terminal=True,
        user=user,
        rlimits=rlimits(config),
        oom_score_adj=config.limits.oom_score,
        capabilities=capability_sets() if user.uid == 0 else capability_sets_of_a_user(),
        no_new_privileges=config.security.no_new_privs,
    )


def _init_user(record: Record) -> User:
    """Who the configuration says, else who the image does; somebody else has none of the groups of the image's."""
    init, runner = record.config.init, record.runner
    if init.uid is None and init.gid is None:
        return User(runner.uid, runner.gid, additional_gids=runner.groups)
    if init.uid is None:
        return User(runner.uid, init.gid or 0)
    return User(init.uid, init.gid or 0)


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


def _view(files: tuple[str, str]) -> Mount:
    source, destination = files
    return Mount(destination, "bind", source, ("bind", *_INERT, "ro", "create=file"))


def _before(clock_ns: int) -> TimeOffset:
    """The offset that makes a clock begin at zero now."""
    seconds, rest = divmod(-clock_ns, 1_000_000_000)
    return TimeOffset(seconds, rest)
