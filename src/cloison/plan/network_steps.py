"""The steps on networks, and on what these need beside the kernel, a part of the table in `cloison.plan.steps`."""

from cloison.plan.fields import Blob, Int, Oct, Slot, Step, Text, Texts


class LinkUp(Step, frozen=True):
    """Bring a network interface up."""

    kind, number, source = "link_up", 54, "netdevice(7), SIOCSIFFLAGS"
    name: Text


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
