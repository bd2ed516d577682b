"""The table of steps: one class for one kernel operation.

Everything that cloison does to the kernel is a list of these values. A class here, a handler of the same
name in `native/`, and nothing else: `native/gen_steps.py` turns this table into `native/steps.h`, and the
wire format (`plan.codec`), the launcher's decoder and `--print` on both sides all follow from it.

What a field's annotation says of it on the wire is in `plan.fields`.

`number` is public, like an on-disk format: a journal written by one version is undone by the next. It is
never changed and never reused.
"""

# Some of it is also for those who write steps down.
from cloison.plan.fields import MAX_SLOTS as MAX_SLOTS
from cloison.plan.fields import MISSING as MISSING
from cloison.plan.fields import NO_SLOT as NO_SLOT
from cloison.plan.fields import Blob, Hex, Int, Oct, Out, Slot, Text, Texts
from cloison.plan.fields import Create as Create
from cloison.plan.fields import Step as Step
from cloison.plan.fields import Where as Where
from cloison.plan.mount_steps import Fsmount as Fsmount
from cloison.plan.mount_steps import MaskPath as MaskPath
from cloison.plan.mount_steps import MountSetattr as MountSetattr
from cloison.plan.mount_steps import MoveMount as MoveMount
from cloison.plan.mount_steps import OpenTree as OpenTree
from cloison.plan.mount_steps import OpenUserns as OpenUserns
from cloison.plan.mount_steps import PivotRoot as PivotRoot
from cloison.plan.mount_steps import ReadonlyPath as ReadonlyPath
from cloison.plan.mount_steps import RootPropagation as RootPropagation
from cloison.plan.mount_steps import SealMount as SealMount
from cloison.plan.mount_steps import Umount as Umount
from cloison.plan.mount_steps import Unmount as Unmount

# --- files and directories -------------------------------------------------------------------------------


class Mkdir(Step, frozen=True):
    """Make a directory; one that exists already is left as it is."""

    kind, number, source = "mkdir", 1, "mkdirat(2)"
    dir: Slot
    path: Text
    mode: Oct


class Write(Step, frozen=True):
    """Write `data` with one write(2) into a file that exists: a cgroup limit, a switch in /proc."""

    kind, number, source = "write", 2, "write(2)"
    dir: Slot
    path: Text
    data: Text


class Chown(Step, frozen=True):
    """Give a file to `uid` and `gid`, without following a symbolic link; a missing one is passed over."""

    kind, number, source = "chown", 3, "fchownat(2)"
    dir: Slot
    path: Text
    uid: Int
    gid: Int


class Open(Step, frozen=True):
    """Open a path of the host, close-on-exec."""

    kind, number, source = "open", 4, "openat(2)"
    out: Out
    dir: Slot
    path: Text
    flags: Hex
    mode: Oct


class Close(Step, frozen=True):
    """Close a slot."""

    kind, number, source = "close", 5, "close(2)"
    fd: Slot


class Symlink(Step, frozen=True):
    """Make a symbolic link inside `root`; one that exists already is left as it is."""

    kind, number, source = "symlink", 6, "symlinkat(2)"
    root: Slot
    path: Text
    target: Text


class Unlink(Step, frozen=True):
    """Remove a file; a missing one is no error."""

    kind, number, source = "unlink", 7, "unlink(2)"
    path: Text


class Rmdir(Step, frozen=True):
    """Remove an empty directory; a missing one is no error."""

    kind, number, source = "rmdir", 8, "rmdir(2)"
    path: Text


class Fchdir(Step, frozen=True):
    """Make a directory the working directory."""

    kind, number, source = "fchdir", 9, "fchdir(2)"
    dir: Slot


# --- processes and namespaces ----------------------------------------------------------------------------


class Detach(Step, frozen=True):
    """Leave the caller: fork, let the parent end, begin an own session in `/`."""

    kind, number, source = "detach", 20, "fork(2), setsid(2)"


class Clone(Step, frozen=True):
    """Make the new process, in new namespaces and, with `cgroup`, in that v2 cgroup from its first moment."""

    kind, number, source = "clone", 21, "clone3(2)"
    flags: Hex
    cgroup: Slot


class OpenChildNs(Step, frozen=True):
    """Take hold of a namespace of the new process."""

    kind, number, source = "open_child_ns", 22, "namespaces(7)"
    out: Out
    name: Text


class WriteChild(Step, frozen=True):
    """Write to /proc/PID/`name` of the new process: its id maps, its OOM score."""

    kind, number, source = "write_child", 23, "user_namespaces(7)"
    name: Text
    data: Text


class Unshare(Step, frozen=True):
    """Leave shared namespaces for new ones."""

    kind, number, source = "unshare", 24, "unshare(2)"
    flags: Hex


class Setns(Step, frozen=True):
    """Enter namespaces: `fd` is a namespace or a pidfd."""

    kind, number, source = "setns", 25, "setns(2)"
    fd: Slot
    flags: Hex


class Setsid(Step, frozen=True):
    """Begin a new session."""

    kind, number, source = "setsid", 26, "setsid(2)"


class Pdeathsig(Step, frozen=True):
    """Ask for a signal when the parent dies; end at once where it is dead already."""

    kind, number, source = "pdeathsig", 27, "prctl(2), PR_SET_PDEATHSIG"
    signal: Int


class SetDumpable(Step, frozen=True):
    """Say whether others may look into this process (ptrace, /proc/PID/)."""

    kind, number, source = "set_dumpable", 28, "prctl(2), PR_SET_DUMPABLE"
    value: Int


class Personality(Step, frozen=True):
    """Set the execution domain."""

    kind, number, source = "personality", 29, "personality(2)"
    value: Hex


# --- control groups --------------------------------------------------------------------------------------


class MkdirCgroup(Step, frozen=True):
    """Make a cgroup, with its missing parents."""

    kind, number, source = "mkdir_cgroup", 30, "cgroups(7)"
    path: Text


class RmdirCgroup(Step, frozen=True):
    """Remove a cgroup and those below it, waiting for its processes to end; then up to `prune` empty parents."""

    kind, number, source = "rmdir_cgroup", 31, "cgroups(7)"
    path: Text
    prune: Int


class KillCgroup(Step, frozen=True):
    """Kill every process in a cgroup and below it."""

    kind, number, source = "kill_cgroup", 32, "cgroups(7), cgroup.kill"
    path: Text


class AttachCgroup(Step, frozen=True):
    """Move the new process into a cgroup."""

    kind, number, source = "attach_cgroup", 33, "cgroups(7), cgroup.procs"
    path: Text


class AttachSelf(Step, frozen=True):
    """Move the launcher itself into a cgroup."""

    kind, number, source = "attach_self", 34, "cgroups(7), cgroup.procs"
    path: Text


class DeviceFilter(Step, frozen=True):
    """Let an eBPF program decide over every use of a device in a v2 cgroup and below it, in place of those that are
    attached there; it ends with the cgroup. `program` is an array of `struct bpf_insn`; an empty one only takes those
    away."""

    kind, number, source = "device_filter", 35, "bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE"
    path: Text
    program: Blob


class WatchOom(Step, frozen=True):
    """Take hold of what tells of out-of-memory kills in a cgroup: its `memory.events` (v2), or an eventfd that the
    kernel rings for its `memory.oom_control` (v1)."""

    kind, number, source = "watch_oom", 36, "cgroup-v2.rst, cgroup-v1/memory.rst"
    out: Out
    path: Text


# --- descriptors and terminals ---------------------------------------------------------------------------


class SendFd(Step, frozen=True):
    """Hand a descriptor to the launcher."""

    kind, number, source = "send_fd", 40, "unix(7), SCM_RIGHTS"
    fd: Slot


class RecvFd(Step, frozen=True):
    """Take the descriptor that the new process handed over."""

    kind, number, source = "recv_fd", 41, "unix(7), SCM_RIGHTS"
    out: Out


class ReportFd(Step, frozen=True):
    """Hand a descriptor to the process that asked for this plan."""

    kind, number, source = "report_fd", 42, "unix(7), SCM_RIGHTS"
    fd: Slot


class OpenPty(Step, frozen=True):
    """Open a pseudo-terminal of the devpts at `path` inside `root`; the slave through TIOCGPTPEER."""

    kind, number, source = "open_pty", 43, "pty(7), ioctl_tty(2)"
    master: Out
    slave: Out
    root: Slot
    path: Text


class SetWinsize(Step, frozen=True):
    """Set a terminal's size, in character cells."""

    kind, number, source = "set_winsize", 44, "ioctl_tty(2), TIOCSWINSZ"
    fd: Slot
    rows: Int
    cols: Int


class SetCtty(Step, frozen=True):
    """Make a terminal the controlling terminal of the session."""

    kind, number, source = "set_ctty", 45, "ioctl_tty(2), TIOCSCTTY"
    fd: Slot


class Dup2(Step, frozen=True):
    """Make descriptor number `to` another name of a slot; it survives exec."""

    kind, number, source = "dup2", 46, "dup2(2)"
    fd: Slot
    to: Int


class Listen(Step, frozen=True):
    """Bind a socket for requests at `path` below `dir`, mode 0600."""

    kind, number, source = "listen", 47, "unix(7)"
    out: Out
    dir: Slot
    path: Text


# --- what the payload finds ------------------------------------------------------------------------------


class Sethostname(Step, frozen=True):
    """Set the host name of the new UTS namespace."""

    kind, number, source = "sethostname", 50, "sethostname(2)"
    name: Text


class Setdomainname(Step, frozen=True):
    """Set the NIS domain name of the new UTS namespace."""

    kind, number, source = "setdomainname", 51, "setdomainname(2)"
    name: Text


class Sysctl(Step, frozen=True):
    """Write a kernel parameter through a private /proc that nobody else can have tampered with.

    `key` is a path below /proc/sys, with slashes."""

    kind, number, source = "sysctl", 52, "proc(5), /proc/sys"
    proc: Slot
    key: Text
    value: Text


class Setrlimit(Step, frozen=True):
    """Set a resource limit; all bits set is "unlimited"."""

    kind, number, source = "setrlimit", 53, "setrlimit(2)"
    resource: Int
    soft: Hex
    hard: Hex


class LinkUp(Step, frozen=True):
    """Bring a network interface up."""

    kind, number, source = "link_up", 54, "netdevice(7), SIOCSIFFLAGS"
    name: Text


class Umask(Step, frozen=True):
    """Set the file mode creation mask."""

    kind, number, source = "umask", 55, "umask(2)"
    mask: Oct


class Chdir(Step, frozen=True):
    """Change the working directory, and check that it lies inside the root."""

    kind, number, source = "chdir", 56, "chdir(2), getcwd(2)"
    path: Text


class Prlimit(Step, frozen=True):
    """Set a resource limit of another process, or where `pid` is 0, of the new one; one that has ended is passed over.

    The host's root may raise a hard limit, which root of a user namespace may not."""

    kind, number, source = "prlimit", 57, "prlimit(2)"
    pid: Int
    resource: Int
    soft: Hex
    hard: Hex


# --- credentials -----------------------------------------------------------------------------------------


class Setgroups(Step, frozen=True):
    """Set the supplementary groups (decimal numbers)."""

    kind, number, source = "setgroups", 60, "setgroups(2)"
    groups: Texts


class Setresgid(Step, frozen=True):
    """Set all group ids."""

    kind, number, source = "setresgid", 61, "setresgid(2)"
    gid: Int


class Setresuid(Step, frozen=True):
    """Set all user ids."""

    kind, number, source = "setresuid", 62, "setresuid(2)"
    uid: Int


class DropBounding(Step, frozen=True):
    """Drop every capability that is not in `keep` from the bounding set."""

    kind, number, source = "drop_bounding", 63, "capabilities(7), PR_CAPBSET_DROP"
    keep: Hex


class KeepCaps(Step, frozen=True):
    """Keep the permitted capabilities when the user id changes."""

    kind, number, source = "keep_caps", 64, "capabilities(7), PR_SET_KEEPCAPS"


class Capset(Step, frozen=True):
    """Set the capability sets of the process."""

    kind, number, source = "capset", 65, "capset(2)"
    effective: Hex
    permitted: Hex
    inheritable: Hex


class Ambient(Step, frozen=True):
    """Raise ambient capabilities."""

    kind, number, source = "ambient", 66, "capabilities(7), PR_CAP_AMBIENT"
    mask: Hex


class NoNewPrivs(Step, frozen=True):
    """From here on exec cannot grant privileges."""

    kind, number, source = "no_new_privs", 67, "prctl(2), PR_SET_NO_NEW_PRIVS"


class LoadSeccomp(Step, frozen=True):
    """Load a system call filter: an array of `struct sock_filter`."""

    kind, number, source = "load_seccomp", 68, "seccomp(2)"
    filter: Blob


# --- networks, and what they need beside the kernel ------------------------------------------------------


class Netlink(Step, frozen=True):
    """Send a batch of rtnetlink messages, and hear that each was carried out; `what` says in words what they do.

    The socket is of the network namespace `ns`, or of whoever sends. Where `fd` is a slot, its descriptor is put into
    the messages at byte `at` (IFLA_NET_NS_FD). An answer of the errno `ignore` is none (MISSING: of any that says that
    something is not there); for `patience_ms` a missing interface (ENODEV) is waited for. The value of a failure is
    the index of the message that was refused."""

    kind, number, source = "netlink", 80, "rtnetlink(7)"
    what: Text
    ns: Slot
    fd: Slot
    at: Int
    messages: Blob
    ignore: Int
    patience_ms: Int


class Run(Step, frozen=True):
    """Run a program of the host, with `input` on its standard input, and wait for it.

    `argv` begins with its absolute path. The value of a failure with ECHILD is its wait status, and what
    it wrote to its standard error, as far as 4 KiB go, comes with the report."""

    kind, number, source = "run", 81, "execve(2), waitpid(2)"
    argv: Texts
    input: Text


class Terminate(Step, frozen=True):
    """End the daemon whose pid is in a file, if `word` is a part of its command line; an absent one is no error."""

    kind, number, source = "terminate", 82, "pidfd_send_signal(2)"
    pidfile: Text
    word: Text


class WriteFile(Step, frozen=True):
    """Write a file of ours as a whole: beside it, under a name with a dot, and then renamed."""

    kind, number, source = "write_file", 83, "rename(2)"
    path: Text
    mode: Oct
    data: Blob


class NetlinkIn(Step, frozen=True):
    """As `netlink`, in the network namespace that is mounted at `path`; without one there is nothing to do.

    The descriptor of the sender's own namespace is put at byte `at` of the messages, unless that is -1."""

    kind, number, source = "netlink_in", 85, "rtnetlink(7), setns(2)"
    what: Text
    path: Text
    at: Int
    messages: Blob
    ignore: Int


class RenameLink(Step, frozen=True):
    """Give an interface another name, `name` being any that it has; for `patience_ms` a missing one is waited for.

    One that does not come is no error: it may have been pulled out."""

    kind, number, source = "rename_link", 86, "netdevice(7), SIOCSIFNAME"
    name: Text
    to: Text
    patience_ms: Int


class NetlinkOn(Step, frozen=True):
    """As `netlink`, one message after the other, each about the interface `name`, any that it has: its index is put
    into them. All are sent; the value of a failure is the index of the first that was refused.

    Where there is no such interface, there is nothing to do."""

    kind, number, source = "netlink_on", 88, "rtnetlink(7), netdevice(7), SIOCGIFINDEX"
    what: Text
    name: Text
    messages: Blob
    ignore: Int


class UndoLater(Step, frozen=True):
    """Carry out the undo steps of another plan, for what was added after the start, and remove its file.

    None need be there."""

    kind, number, source = "undo_later", 87, "open(2)"
    path: Text


# --- the ends --------------------------------------------------------------------------------------------


class Exec(Step, frozen=True):
    """Become the payload: the first of `programs` that can be executed. Every descriptor above 2 is closed."""

    kind, number, source = "exec", 70, "execve(2)"
    programs: Texts
    argv: Texts
    env: Texts


class MonitorOfOld(Step, frozen=True):
    """What `monitor` was before it knew of alarms and samples: in the journals of what older versions have started."""

    kind, number, source = "monitor_of_old", 71, "pidfd_open(2), poll(2)"
    socket: Slot
    console: Slot
    peer: Slot
    log: Text
    log_size: Int
    record: Text
    reboot: Texts


class Wait(Step, frozen=True):
    """Wait for the new process, report its wait status, and end."""

    kind, number, source = "wait", 72, "waitid(2)"


class Monitor(Step, frozen=True):
    """Stay as the keeper of the new process: own its console, write the log, answer on the socket; when it has
    ended, run the undo steps, write the exit record, and after a reboot from inside become `reboot`.

    `alarm` is what `watch_oom` gave: for an out-of-memory kill `on_alarm` is run, at most once a second, and not
    waited for. At the end, before the undo steps, the files `samples` are copied to `record`.usage, and with `netns`
    what the interfaces in that network namespace have counted."""

    kind, number, source = "monitor", 73, "pidfd_open(2), poll(2)"
    socket: Slot
    console: Slot
    peer: Slot
    log: Text
    log_size: Int
    record: Text
    reboot: Texts
    alarm: Slot
    on_alarm: Texts
    netns: Slot
    samples: Texts


def _all_kinds() -> tuple[type[Step], ...]:
    found = sorted(Step.__subclasses__(), key=lambda cls: cls.number)
    assert len({cls.number for cls in found}) == len({cls.kind for cls in found}) == len(found)
    return tuple(found)


KINDS: tuple[type[Step], ...] = _all_kinds()
BY_NUMBER: dict[int, type[Step]] = {cls.number: cls for cls in KINDS}


def fields_of(cls: type[Step]) -> tuple[tuple[str, str], ...]:
    """The wire fields of a kind, in order, as (name, type)."""
    own = cls.__annotations__
    return tuple((name, own[name].__metadata__[0]) for name in cls.__struct_fields__)
