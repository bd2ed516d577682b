"""The OCI runtime specification, version 1.1: the industry's format for "this is the container to run".

Only what cloison acts on has a field; what it does not know is refused by name when a foreign bundle is read, never
ignored. Field names follow the specification; `rename="camel"` gives its spelling.

Source: opencontainers/runtime-spec, config.md and config-linux.md. Pure.
"""

import msgspec


class User(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Ids as the container sees them (config.md, "POSIX-platform User")."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Rlimit(msgspec.Struct, frozen=True):
    """A resource limit; `type` is a name of getrlimit(2)."""

    type: str
    soft: int
    hard: int


class Capabilities(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names of capabilities(7) for each set."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Process(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What runs inside (config.md, "Process")."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    terminal: bool = False
    user: User = User()
    rlimits: tuple[Rlimit, ...] = ()
    capabilities: Capabilities | None = None
    no_new_privileges: bool = False
    oom_score_adj: int | None = None


class Root(msgspec.Struct, frozen=True, omit_defaults=True):
    """The root file system (config.md, "Root")."""

    path: str
    readonly: bool = False


class IdMapping(msgspec.Struct, frozen=True):
    """One line of an id map, as the specification writes it."""

    containerID: int  # noqa: N815, the specification's own spelling
    hostID: int  # noqa: N815
    size: int


class Mount(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One mount (config.md, "Mounts"); `destination` is a path inside. With the option `idmap` or `ridmap` the ids of
    its files are mapped: as said here (containerID is the id on disk), or as those of the container."""

    destination: str
    type: str = "bind"
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class Namespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A namespace to make, or with `path` to join (config-linux.md, "Namespaces")."""

    type: str
    path: str = ""


class TimeOffset(msgspec.Struct, frozen=True):
    """Offset of a clock in the time namespace, in seconds and nanoseconds (time_namespaces(7))."""

    secs: int = 0
    nanosecs: int = 0


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device node that the container sees."""

    path: str
    type: str
    major: int
    minor: int


class SeccompArg(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A condition on a system call's argument (seccomp_rule_add(3))."""

    index: int
    value: int
    op: str
    value_two: int = 0


class SeccompSyscall(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What to do about some system calls."""

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArg, ...] = ()


class Seccomp(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A system call filter (config-linux.md, "Seccomp")."""

    default_action: str
    architectures: tuple[str, ...] = ()
    syscalls: tuple[SeccompSyscall, ...] = ()
    default_errno_ret: int | None = None


class MemoryLimits(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Bytes; -1 is "no limit". `swap` counts memory and swap together; `reservation` is the soft limit."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None


class CpuLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Microseconds of CPU time (`quota`) in each `period`, of which `burst` may be saved up; a quota of -1 is "no
    limit". `shares` are a weight of which 1024 is the usual one; `cpus` is a list such as "0-1,3"."""

    quota: int | None = None
    period: int | None = None
    burst: int | None = None
    shares: int | None = None
    cpus: str = ""


class PidsLimits(msgspec.Struct, frozen=True):
    """Number of tasks; -1 is "no limit"."""

    limit: int


class ThrottleDevice(msgspec.Struct, frozen=True):
    """A block device and its rate, in bytes or operations per second; 0 is "no limit"."""

    major: int
    minor: int
    rate: int


class BlockIo(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Limits of block devices; `weight` is 10 to 1000."""

    weight: int | None = None
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleReadIOPSDevice")
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleWriteIOPSDevice")


class HugepageLimit(msgspec.Struct, frozen=True, rename="camel"):
    """Bytes in huge pages of one size, such as "2MB"; -1 is "no limit"."""

    page_size: str
    limit: int


class DeviceRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may be done with device nodes: `type` a, b or c; None is any number; `access` of r, w and m. The last rule
    that matches decides."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


class Resources(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Limits of the control group (config-linux.md, "Control groups"). `unified` are files by their name."""

    memory: MemoryLimits | None = None
    cpu: CpuLimits | None = None
    pids: PidsLimits | None = None
    block_io: BlockIo | None = msgspec.field(default=None, name="blockIO")
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    devices: tuple[DeviceRule, ...] = ()
    unified: dict[str, str] = {}


class Linux(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The Linux part (config-linux.md)."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: dict[str, TimeOffset] = {}
    devices: tuple[Device, ...] = ()
    cgroups_path: str = ""
    resources: Resources = Resources()
    rootfs_propagation: str = "rprivate"
    seccomp: Seccomp | None = None
    sysctl: dict[str, str] = {}
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


class Spec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A whole container (config.md)."""

    process: Process
    root: Root
    linux: Linux
    oci_version: str = "1.1.0"
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    annotations: dict[str, str] = {}
