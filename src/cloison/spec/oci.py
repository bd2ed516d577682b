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


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """One mount (config.md, "Mounts"); `destination` is a path inside."""

    destination: str
    type: str = "bind"
    source: str = ""
    options: tuple[str, ...] = ()


class Namespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A namespace to make, or with `path` to join (config-linux.md, "Namespaces")."""

    type: str
    path: str = ""


class IdMapping(msgspec.Struct, frozen=True):
    """One line of an id map, as the specification writes it."""

    containerID: int  # noqa: N815, the specification's own spelling
    hostID: int  # noqa: N815
    size: int


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


class MemoryLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes; -1 is "no limit"."""

    limit: int | None = None


class CpuLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Microseconds of CPU time (`quota`) in each `period`; a quota of -1 is "no limit"."""

    quota: int | None = None
    period: int | None = None


class PidsLimits(msgspec.Struct, frozen=True):
    """Number of tasks; -1 is "no limit"."""

    limit: int


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of the control group (config-linux.md, "Control groups")."""

    memory: MemoryLimits | None = None
    cpu: CpuLimits | None = None
    pids: PidsLimits | None = None


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
