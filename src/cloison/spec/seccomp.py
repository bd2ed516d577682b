"""The default system call filter: everything is allowed but what stands in the table below. Pure.

The table is the union of LXC's `common.seccomp` and of what Docker's default profile leaves out for a container with
the same capabilities, as a list of what is denied: a system container runs programs nobody has foreseen, so what is
unknown here is left to the kernel's own checks. A row says what is denied, why, which capabilities lift it (each of
them alone does), and with which error.

The error is part of the answer. ENOSYS means "this kernel does not have it", and a caller falls back; EPERM means "not
you", and many give up. So what has a substitute, or has left the kernel, is ENOSYS, and the rest is EPERM.

Docker denies more: `pivot_root` to everybody, though who may mount gains nothing by it, and neither bubblewrap nor a
container engine works inside without it; and old calls that do no more than newer ones (`nice`, `oldstat`).

Source: capabilities(7), the manual page of each call; lxc/common.seccomp; moby/profiles/seccomp.
"""

from errno import EACCES, EAFNOSUPPORT, ENOSYS, EPERM
from typing import Final

import msgspec

from cloison.spec.oci import Seccomp, SeccompArg, SeccompSyscall


class Denied(msgspec.Struct, frozen=True):
    """System calls that are denied, unless the container has one of the capabilities `lifted_by`."""

    names: str
    why: str
    lifted_by: tuple[str, ...] = ()
    errno: int = EPERM
    when: tuple[SeccompArg, ...] = ()


def _is(index: int, value: int, mask: int = 0xFFFFFFFF) -> tuple[SeccompArg, ...]:
    """Argument `index` is `value`, as the kernel reads it: an int of 32 bits.

    A plain comparison looks at 64 bits, and who sets one of the upper ones gets around it (CVE-2019-10063)."""
    return (SeccompArg(index, mask, "SCMP_CMP_MASKED_EQ", value),)


def _has(index: int, flag: int) -> tuple[SeccompArg, ...]:
    """Argument `index` has the bit `flag`."""
    return _is(index, flag, flag)


_MNT_FORCE: Final = 1  # umount(2)
_CLONE_NEWUSER: Final = 0x10000000  # clone(2)
_TIOCSTI: Final = 0x5412  # ioctl_tty(2)
_TIOCLINUX: Final = 0x541C  # ioctl_console(2)
_AF_VSOCK: Final = 40  # vsock(7)

_TABLE: Final = (
    # --- never -------------------------------------------------------------------------------------------------------
    Denied("kexec_load kexec_file_load", "another kernel would be started"),
    Denied("init_module finit_module delete_module", "a module is part of the host's kernel"),
    Denied("open_by_handle_at", "files outside the container could be opened by their number (the Shocker exploit)"),
    Denied("umount2", "a forced umount breaks the mounts of others", errno=EACCES, when=_has(1, _MNT_FORCE)),
    Denied("swapon swapoff", "swap space belongs to the host"),
    Denied("userfaultfd", "a page fault that is held up makes a race in the kernel easy to win"),
    Denied("move_pages migrate_pages", "pages of shared files would be moved for everybody"),
    Denied("ioctl", "typed into the terminal of whoever started this (CVE-2017-5226)", when=_is(1, _TIOCSTI)),
    Denied("ioctl", "pasted into the host's console", when=_is(1, _TIOCLINUX)),
    Denied("pciconfig_iobase pciconfig_read pciconfig_write", "the hardware belongs to the host"),
    Denied("vm86 vm86old", "runs in the kernel what nobody tests any more", errno=ENOSYS),
    # runc, inside, goes on without a key ring after ENOSYS only; systemd does after both.
    Denied("add_key keyctl request_key", "no namespace divides the kernel's keys by container", errno=ENOSYS),
    Denied("io_uring_setup io_uring_enter io_uring_register", "a second way to call, past this filter", errno=ENOSYS),
    Denied("socket", "reaches the hypervisor, past the network", errno=EAFNOSUPPORT, when=_is(0, _AF_VSOCK)),
    Denied(
        "_sysctl bdflush create_module get_kernel_syms lookup_dcookie nfsservctl query_module sysfs uselib ustat",
        "obsolete: gone from the kernel, or on the way out",
        errno=ENOSYS,
    ),
    # --- with the capability that the kernel asks for -----------------------------------------------------------------
    Denied(
        "mount umount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr",
        "mounting",
        ("CAP_SYS_ADMIN",),
    ),
    Denied("setns", "entering namespaces", ("CAP_SYS_ADMIN",)),
    Denied("unshare", "all of a new user namespace's own", ("CAP_SYS_ADMIN",), when=_has(0, _CLONE_NEWUSER)),
    Denied("clone", "the same", ("CAP_SYS_ADMIN",), when=_has(0, _CLONE_NEWUSER)),
    Denied("clone3", "its flags are in memory, where no filter sees them", ("CAP_SYS_ADMIN",), errno=ENOSYS),
    Denied("sethostname setdomainname", "renaming the container", ("CAP_SYS_ADMIN",)),
    Denied("quotactl quotactl_fd", "disk quotas", ("CAP_SYS_ADMIN",)),
    Denied("fanotify_init", "watching whole file systems", ("CAP_SYS_ADMIN",)),
    Denied("bpf", "programs in the kernel", ("CAP_SYS_ADMIN", "CAP_BPF")),
    Denied("perf_event_open", "measuring the kernel", ("CAP_SYS_ADMIN", "CAP_PERFMON")),
    Denied("syslog", "the kernel's log", ("CAP_SYS_ADMIN", "CAP_SYSLOG")),
    Denied("kcmp pidfd_getfd process_madvise", "looking into other processes", ("CAP_SYS_PTRACE",)),
    Denied("acct", "process accounting", ("CAP_SYS_PACCT",)),
    Denied("chroot", "another root directory", ("CAP_SYS_CHROOT",)),
    Denied("ioperm iopl", "ports of the hardware", ("CAP_SYS_RAWIO",)),
    Denied("mbind get_mempolicy set_mempolicy set_mempolicy_home_node", "memory by node", ("CAP_SYS_NICE",)),
    Denied("reboot", "ending the container as a machine ends", ("CAP_SYS_BOOT",)),
    Denied("settimeofday stime clock_settime clock_settime64", "the host's clock", ("CAP_SYS_TIME",)),
    Denied("vhangup", "hanging up a terminal", ("CAP_SYS_TTY_CONFIG",)),
)

# personality(2): another execution domain weakens what protects a program (no address randomisation, executable
# data). Docker allows these bits, in any combination, and the question "which one is it", which has all 32.
_PERSONALITY_ALLOWED: Final = 0x0008 | 0x20000  # PER_LINUX32, UNAME26


def default_profile(capabilities: tuple[str, ...]) -> Seccomp:
    """The filter of a container whose processes can have `capabilities`; it covers all compatible architectures."""
    held = frozenset(capabilities)
    rows = [row for row in _TABLE if held.isdisjoint(row.lifted_by)]
    rules = [SeccompSyscall(tuple(row.names.split()), "SCMP_ACT_ERRNO", row.errno, row.when) for row in rows]
    return Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(*rules, *_personality_rules()))


def _personality_rules() -> tuple[SeccompSyscall, ...]:
    """One rule for each pair of neighbours in a ring of all bits that are not allowed: "this one is set and the next is
    not". None matches where all of the ring are clear, or all are set, and in every other case one does. Two more rules
    ask the allowed bits to be set where all others are. A filter cannot say "none of these values" in one rule."""
    ring = [1 << bit for bit in range(32) if not 1 << bit & _PERSONALITY_ALLOWED]
    allowed = [1 << bit for bit in range(32) if 1 << bit & _PERSONALITY_ALLOWED]
    pairs = [*zip(ring, [*ring[1:], ring[0]], strict=True), *((ring[0], bit) for bit in allowed)]
    return tuple(
        SeccompSyscall(("personality",), "SCMP_ACT_ERRNO", EPERM, _is(0, this, this | other)) for this, other in pairs
    )
