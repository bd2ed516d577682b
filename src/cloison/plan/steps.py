"""The table of steps: one class for one kernel operation.

Everything that cloison does to the kernel is a list of these values. A class here, a handler of the same
name in `native/`, and nothing else: `native/gen_steps.py` turns this table into `native/steps.h`, and the
wire format (`plan.codec`), the launcher's decoder and `--print` on both sides all follow from it.

Three families have modules of their own: the steps on mounts (`plan.mount_steps`), on processes
(`plan.process_steps`) and on networks (`plan.network_steps`). Here are the rest, and the table of all.
What a field's annotation says of it on the wire is in `plan.fields`.

`number` is public, like an on-disk format: a journal written by one version is undone by the next. It is
never changed and never reused.
"""

# Its parts, and what is also for those who write steps down.
from cloison.plan import mount_steps as mount_steps
from cloison.plan import network_steps as network_steps
from cloison.plan import process_steps as process_steps
from cloison.plan.fields import MAX_SLOTS as MAX_SLOTS
from cloison.plan.fields import MISSING as MISSING
from cloison.plan.fields import NO_SLOT as NO_SLOT
from cloison.plan.fields import Blob, Hex, Int, Oct, Out, Slot, Text, Texts
from cloison.plan.fields import Create as Create
from cloison.plan.fields import Step as Step
from cloison.plan.fields import Where as Where

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


class Umask(Step, frozen=True):
    """Set the file mode creation mask."""

    kind, number, source = "umask", 55, "umask(2)"
    mask: Oct


class Chdir(Step, frozen=True):
    """Change the working directory, and check that it lies inside the root."""

    kind, number, source = "chdir", 56, "chdir(2), getcwd(2)"
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
    """Every class of this module and of its parts, by number."""
    found = sorted(Step.__subclasses__(), key=lambda cls: cls.number)
    assert len({cls.number for cls in found}) == len({cls.kind for cls in found}) == len(found)
    return tuple(found)


KINDS: tuple[type[Step], ...] = _all_kinds()
BY_NUMBER: dict[int, type[Step]] = {cls.number: cls for cls in KINDS}


def fields_of(cls: type[Step]) -> tuple[tuple[str, str], ...]:
    """The wire fields of a kind, in order, as (name, type)."""
    own = cls.__annotations__
    return tuple((name, own[name].__metadata__[0]) for name in cls.__struct_fields__)
