"""The judgement on a host, topic by topic: each ability, whether cloison can do without it, and what to do. Pure."""

import errno
from collections.abc import Iterator
from typing import Final

from cloison.base.capabilities import CAPABILITIES
from cloison.base.ids import RANGE
from cloison.base.units import format_size
from cloison.kernel import lxcfs
from cloison.runtime.finding import REQUIRED, Finding, tried
from cloison.runtime.group_findings import control_groups
from cloison.runtime.survey import Survey

UNPRIVILEGED: Final = "for unprivileged containers"
GIVE_UP: Final = "security.privileged=true does without, and makes root inside root of the host"
_ENOUGH_BYTES: Final = 1 << 30
_ENOUGH_INODES: Final = 50_000  # a Debian root file system has some 10,000 files, an application's image up to this


def findings(host: Survey) -> tuple[Finding, ...]:
    """All of them, topic by topic."""
    return (
        *_namespaces(host),
        *control_groups(host),
        *_storage(host),
        *_security(host),
        *_networking(host),
        *_console(host),
        *_programs(host),
        *_ceilings(host),
    )


# --- namespaces ------------------------------------------------------------------------------------------------------

_NAMESPACES: Final = (
    ("mnt", "mount namespaces", REQUIRED, "CONFIG_NAMESPACES"),
    ("pid", "PID namespaces", REQUIRED, "CONFIG_PID_NS"),
    ("net", "network namespaces", REQUIRED, "CONFIG_NET_NS"),
    ("ipc", "IPC namespaces", REQUIRED, "CONFIG_IPC_NS"),
    ("uts", "UTS namespaces", REQUIRED, "CONFIG_UTS_NS"),
    ("cgroup", "cgroup namespaces", "for systemd inside", "CONFIG_CGROUPS"),
    ("time", "time namespaces", "for boot.own_clock", "CONFIG_TIME_NS"),
)


def _namespaces(host: Survey) -> Iterator[Finding]:
    topic = "Namespaces"
    for kind, name, needed, option in _NAMESPACES:
        if kind in host.facts.namespaces:
            yield Finding(topic, name, "ok", needed, "the kernel has them")
        else:
            yield Finding(topic, name, "missing", needed, "not in this kernel", f"use a kernel with {option}")
    yield tried(topic, "user namespaces", host.facts.answers.user_namespace, UNPRIVILEGED, _userns_hint(host))
    if host.facts.euid:
        yield _subordinate_ids(host)


def _userns_hint(host: Survey) -> str:
    """What to do about user namespaces that are refused; the switches that distributions invented come first."""
    if "user" not in host.facts.namespaces:
        return "use a kernel with CONFIG_USER_NS"
    if host.parameters.get("user.max_user_namespaces") == 0:
        return "sysctl -w user.max_user_namespaces=15000"
    if host.facts.euid and host.parameters.get("kernel.unprivileged_userns_clone") == 0:
        return "run as root, or: sysctl -w kernel.unprivileged_userns_clone=1"
    if host.facts.euid and host.parameters.get("kernel.apparmor_restrict_unprivileged_userns") == 1:
        return "run as root, or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return "run as root, outside a container that denies them"


def _subordinate_ids(host: Survey) -> Finding:
    topic, name, needed = "Namespaces", "subordinate ids", "for containers of users other than root"
    count = min(sum(count for _, count in ranges) for ranges in (host.subuids, host.subgids))
    if count >= RANGE:
        return Finding(topic, name, "ok", needed, f"{count} for {host.user}")
    hint = f"add {host.user}:100000:{RANGE} to /etc/subuid and /etc/subgid"
    return Finding(topic, name, "limited" if count else "missing", needed, f"{count} of {RANGE} for {host.user}", hint)


# --- mounts and storage ----------------------------------------------------------------------------------------------


def _storage(host: Survey) -> Iterator[Finding]:
    topic, answers = "Mounts & storage", host.facts.answers
    newer = "use Linux 5.12 or later"
    overlay = "modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS"
    mapped = f"put cloison's files on ext4, xfs or btrfs, with Linux 5.19 or later; {GIVE_UP}"
    if answers.idmapped_mounts == errno.EPERM:
        mapped = "run as root, outside a container: nobody else may map the ids of a mount"
    yield tried(topic, "new mount calls (fsopen, move_mount)", answers.mount_api, REQUIRED, newer)
    yield tried(topic, "mount_setattr", answers.mount_setattr, REQUIRED, newer)
    yield tried(topic, "openat2", answers.openat2, REQUIRED, newer)
    yield tried(topic, "overlayfs", answers.overlay, REQUIRED, overlay)
    in_userns = f"use Linux 5.11 or later; {GIVE_UP}"
    yield tried(topic, "overlayfs in a user namespace", answers.overlay_in_userns, UNPRIVILEGED, in_userns)
    yield _idmapped(host, mapped)
    yield tried(topic, "overlayfs on id-mapped layers", answers.idmapped_overlay, UNPRIVILEGED, mapped)
    yield _free_space(host)
    yield _device(host, topic, "/dev/fuse", "for lxcfs, and FUSE inside", "modprobe fuse, as root")


def _idmapped(host: Survey, hint: str) -> Finding:
    error, name = host.facts.answers.idmapped_mounts, f"id-mapped mounts of {host.space.fstype}"
    if error == errno.EINVAL:
        detail = f"{host.space.fstype}, at {host.facts.directory}, cannot map ids with this kernel"
        return Finding("Mounts & storage", name, "missing", UNPRIVILEGED, detail, hint)
    return tried("Mounts & storage", name, error, UNPRIVILEGED, hint)


def _free_space(host: Survey) -> Finding:
    topic, name, space = "Mounts & storage", f"space at {host.facts.directory}", host.space
    inodes = "" if space.free_inodes is None else f", {space.free_inodes} inodes"
    detail = f"{format_size(space.free_bytes)} of {format_size(space.total_bytes)} free{inodes}"
    is_enough = space.free_bytes >= _ENOUGH_BYTES and (space.free_inodes is None or space.free_inodes >= _ENOUGH_INODES)
    hint = "free some, or set CLOISON_ROOT to a directory of a larger file system"
    needed = "for images and instances"
    return Finding(topic, name, "ok" if is_enough else "limited", needed, detail, "" if is_enough else hint)


def _device(host: Survey, topic: str, path: str, needed: str, hint: str) -> Finding:
    if path in host.devices:
        return Finding(topic, path, "ok", needed, "can be opened")
    return Finding(topic, path, "missing", needed, f"missing, or not for {host.user} to open", hint)


# --- security --------------------------------------------------------------------------------------------------------


def _security(host: Survey) -> Iterator[Finding]:
    topic, answers = "Security", host.facts.answers
    yield _root(host)
    yield _capabilities(host)
    yield tried(topic, "system call filters", answers.seccomp, "for security.seccomp", "use CONFIG_SECCOMP_FILTER")
    yield Finding(
        topic,
        "libseccomp",
        "ok" if host.libseccomp else "missing",
        "for security.seccomp",
        host.libseccomp or "the library, or the Python module pyseccomp, is missing",
        "" if host.libseccomp else "apt-get install libseccomp2, pip install pyseccomp",
    )
    newer = "use Linux 5.9 or later"
    yield tried(topic, "close_range", answers.close_range, REQUIRED, newer)
    yield tried(topic, "process descriptors (pidfd)", answers.pidfd, REQUIRED, newer)
    yield tried(topic, "clone3 into a cgroup", answers.clone_into_cgroup, REQUIRED, newer)
    module = next((name for name in ("apparmor", "selinux") if name in host.security_modules.split(",")), "")
    yield Finding(
        topic,
        "AppArmor or SELinux",
        "ok" if module else "missing",
        "for a second line of defence; cloison does without",
        module or f"not among the kernel's security modules ({host.security_modules or 'not shown'})",
        "" if module else "boot with security=apparmor; privileged containers profit most",
    )


def _root(host: Survey) -> Finding:
    needed = "for ranges of ids, limits and networks"
    if not host.privileges.euid:
        return Finding("Security", "root", "ok", needed, "this is root")
    return Finding("Security", "root", "limited", needed, f"this is {host.user}", "run as root, with sudo for example")


def _capabilities(host: Survey) -> Finding:
    name, needed = "capabilities", "for all that root may do"
    bounding, last = host.privileges.bounding, host.privileges.last
    lacking = [word for bit, word in enumerate(CAPABILITIES) if bit <= last and not bounding >> bit & 1]
    if not lacking:
        return Finding("Security", name, "ok", needed, f"all {last + 1} can be had")
    detail = f"beyond reach, here and inside: {', '.join(lacking)}"
    if "CAP_SYS_ADMIN" in lacking:
        return Finding("Security", name, "missing", REQUIRED, detail, "run outside a container that takes it away")
    return Finding("Security", name, "limited", needed, detail, "cloison goes on without; programs inside may not")


# --- networking ------------------------------------------------------------------------------------------------------

_LINKS: Final = (
    ("veth", "for networks", "CONFIG_VETH"),
    ("bridge", "for networks", "CONFIG_BRIDGE"),
    ("macvlan", "for interfaces on the host's own network", "CONFIG_MACVLAN"),
    ("ipvlan", "for interfaces that share the host's address", "CONFIG_IPVLAN"),
    ("vlan", "for tagged networks", "CONFIG_VLAN_8021Q"),
    ("vxlan", "for networks across hosts", "CONFIG_VXLAN"),
    ("dummy", "for networks without an uplink", "CONFIG_DUMMY"),
    ("ifb", "for limits.egress", "CONFIG_IFB (modprobe ifb)"),
    ("nftables", "for packet rules and address translation", "CONFIG_NF_TABLES"),
)


def _networking(host: Survey) -> Iterator[Finding]:
    for name, needed, option in _LINKS:
        error: int | None = getattr(host.facts.answers, name)
        yield tried("Networking", name, error, needed, f"use a kernel with {option}; some put it in an extra package")
    yield _device(host, "Networking", "/dev/net/tun", "for virtual machines, and VPNs inside", "modprobe tun, as root")


# --- console ---------------------------------------------------------------------------------------------------------


def _console(host: Survey) -> Iterator[Finding]:
    """What who looks around inside is shown."""
    topic, name, needed, found = "Console", "lxcfs", "for a /proc inside that shows the limits", host.lxcfs
    if len(found.files) == len(lxcfs.FILES):
        yield Finding(topic, name, "ok", needed, f"serves {found.directory}")
    elif found.files:
        lacking = ", ".join(f"/{file}" for file in lxcfs.FILES if file not in found.files)
        hint = "use lxcfs 4 or later; what it does not have shows the machine's size"
        yield Finding(topic, name, "limited", needed, f"serves {found.directory}, without {lacking}", hint)
    elif found.is_mounted:
        hint = f"systemctl restart lxcfs, or: umount --lazy {found.directory}; lxcfs {found.directory}"
        yield Finding(topic, name, "missing", needed, f"{found.directory} is mounted, but its daemon has died", hint)
    elif host.programs.get("lxcfs"):
        hint = f"systemctl start lxcfs, or: lxcfs {found.directory} &"
        yield Finding(topic, name, "missing", needed, f"installed, but not mounted at {found.directory}", hint)
    else:
        hint = "apt-get install --no-install-recommends lxcfs"
        yield Finding(topic, name, "missing", needed, "not installed", hint)


# --- programs --------------------------------------------------------------------------------------------------------

_PROGRAMS: Final = (
    (("unshare", "setpriv"), "for building images", "util-linux"),
    (("mmdebstrap",), "for building Debian images; debootstrap does too", "mmdebstrap"),
    (("debootstrap",), "for building Debian images; mmdebstrap does too", "debootstrap"),
    (("nft",), "for packet rules", "nftables"),
    (("dnsmasq",), "for addresses and names on bridges", "dnsmasq-base"),
)


def _programs(host: Survey) -> Iterator[Finding]:
    topic = "Programs"
    yield Finding(
        topic,
        "launcher",
        "ok" if host.launcher else "missing",
        REQUIRED,
        host.launcher or "cloison's own launcher is missing",
        "" if host.launcher else "install cloison again: make build, or pip install --force-reinstall cloison",
    )
    for names, needed, package in _PROGRAMS:
        yield _program(host, names, needed, package)
    yield _busybox(host)
    if host.facts.euid:
        names = ("newuidmap", "newgidmap")
        yield _program(host, names, "for containers of users other than root", "uidmap")
    qemu = f"qemu-system-{host.facts.machine}"
    package = "qemu-system-arm" if host.facts.machine == "aarch64" else "qemu-system-x86"
    yield _program(host, (qemu,), "for virtual machines", package)
    hint = "load kvm_intel or kvm_amd, switch virtualization on in the firmware; or let qemu emulate, ten times slower"
    yield _device(host, topic, "/dev/kvm", "for fast virtual machines", hint)


def _program(host: Survey, names: tuple[str, ...], needed: str, package: str) -> Finding:
    missing = [name for name in names if host.programs.get(name) is None]
    if not missing:
        paths = ", ".join(host.programs[name] or "" for name in names)
        return Finding("Programs", " and ".join(names), "ok", needed, paths)
    hint = f"apt-get install --no-install-recommends {package}"
    return Finding("Programs", " and ".join(names), "missing", needed, f"{', '.join(missing)}: not installed", hint)


def _busybox(host: Survey) -> Finding:
    needed = "for the busybox image"
    if host.programs.get("busybox") is None or host.is_busybox_static:
        return _program(host, ("busybox",), needed, "busybox-static")
    detail = f"{host.programs['busybox']} needs libraries, which that image does not have"
    hint = "apt-get install --no-install-recommends busybox-static"
    return Finding("Programs", "busybox", "limited", needed, detail, hint)


# --- ceilings --------------------------------------------------------------------------------------------------------

# What a hundred system containers need together: each has a user namespace and a network namespace, some 10 inotify
# instances (they are counted against root of the host, too), and up to a few hundred tasks when it works.
_CEILINGS: Final = (
    ("user.max_user_namespaces", 1024, "for a hundred unprivileged containers"),
    ("user.max_net_namespaces", 1024, "for a hundred containers"),
    ("fs.inotify.max_user_instances", 1024, "for a hundred containers with systemd"),
    ("fs.inotify.max_user_watches", 65536, "for a hundred containers with systemd"),
    ("kernel.pid_max", 65536, "for a hundred busy containers"),
    ("kernel.threads-max", 65536, "for a hundred busy containers"),
    ("kernel.pty.max", 1024, "for a hundred containers"),
    ("kernel.keys.maxkeys", 1000, "for containers with security.seccomp=false, which have key rings"),
)


def _ceilings(host: Survey) -> Iterator[Finding]:
    for name, wanted, needed in _CEILINGS:
        value = host.parameters.get(name)
        if value is None:
            continue  # not in this kernel, so nothing is limited by it
        if value >= wanted:
            yield Finding("Ceilings", name, "ok", needed, f"{value}")
        else:
            hint = f"sysctl -w {name}={wanted}, and {name}={wanted} in /etc/sysctl.d/90-cloison.conf to keep it"
            yield Finding("Ceilings", name, "limited", needed, f"{value}, where {wanted} is enough", hint)
