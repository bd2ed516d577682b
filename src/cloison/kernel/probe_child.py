"""The program behind `kernel.probe`: tries what a container needs, and says how each attempt ended.

    python -I -S probe_child.py DIRECTORY

It is a process of its own, so that no caller's namespaces, ids or mounts change, and imports nothing of cloison, so
that it starts in a few milliseconds. DIRECTORY is empty and on the file system that instances will live on. What is
printed is JSON: a name of `kernel.probe.Answers` and an errno, or 0; what could not be tried has no line.

    this process        a user of the host: asks for system calls, takes hold of two trees, maps their ids
      `- inside         in new user, mount and network namespaces: puts an overlay together, makes interfaces

Nothing is left behind: namespaces and mounts end with the two processes.
"""

import ctypes
import errno
import json
import os
import socket
import struct
import sys
from collections.abc import Callable

Answers = dict[str, int]

AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_INTO_CGROUP = 0x20000, 0x10000000, 0x40000000, 0x200000000
# The same on every architecture, as all system calls since Linux 5.1.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 428, 429, 430, 431, 432
SYS_CLONE3, SYS_CLOSE_RANGE, SYS_OPENAT2, SYS_MOUNT_SETATTR = 435, 436, 437, 442
OPEN_TREE_CLONE, MOUNT_ATTR_IDMAP = 1, 0x100000
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE = 5, 15
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
RTM_NEWLINK, RTM_SETLINK, NLM_F_NEW, NLM_F_REQUEST_ACK = 16, 19, 0x600, 5
IFLA_LINKINFO, IFLA_INFO_KIND, NLMSG_ERROR = 18, 1, 2
AF_BRIDGE, IFLA_AF_SPEC, IFLA_BRIDGE_FLAGS, IFLA_BRIDGE_VLAN_INFO, BRIDGE_FLAGS_SELF = 7, 26, 0, 2, 2
NETLINK_NETFILTER, NFT_GETGEN = 12, 10 << 8 | 16

LIBC = ctypes.CDLL(None, use_errno=True)
LINKS = ("veth", "bridge", "macvlan", "ipvlan", "vlan", "vxlan", "dummy", "ifb")


def call(number: int, *arguments: int | bytes | None) -> int:
    """A system call by its number. Raises OSError."""
    words = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in arguments]
    return checked(LIBC.syscall(ctypes.c_long(number), *words))


def checked(result: int) -> int:
    """The result of a call of libc. Raises OSError where it is negative."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def error_of(attempt: Callable[[], object]) -> int:
    """The errno of an attempt, 0 for success."""
    try:
        attempt()
    except OSError as refused:
        return refused.errno or errno.EIO
    return 0


# --- system calls ----------------------------------------------------------------------------------------------------


def system_calls() -> Answers:
    """Which there are. Those that would change something are called so that they must fail; the errno tells."""
    how = struct.pack("=QQQ", os.O_PATH, 0, 0)
    no_cgroup = struct.pack("=11Q", CLONE_INTO_CGROUP, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0x7FFFFFFF)
    return {
        "openat2": error_of(lambda: call(SYS_OPENAT2, AT_FDCWD, b"/", how, len(how))),
        "close_range": error_of(lambda: call(SYS_CLOSE_RANGE, 0x7FFFFFFE, 0x7FFFFFFE, 0)),
        "pidfd": error_of(lambda: os.pidfd_open(os.getpid())),
        "clone_into_cgroup": but_for(errno.EBADF, lambda: call(SYS_CLONE3, no_cgroup, len(no_cgroup))),
        "mount_api": but_for(errno.EFAULT, lambda: call(SYS_FSOPEN, None, 0), also=errno.EPERM),
        "mount_setattr": but_for(errno.EINVAL, lambda: call(SYS_MOUNT_SETATTR, -1, b"", 0, None, 0)),
        "seccomp": but_for(
            errno.EFAULT,
            lambda: checked(LIBC.prctl(PR_SET_SECCOMP, ctypes.c_long(SECCOMP_MODE_FILTER), None)),
            also=errno.EACCES,
        ),
        **device_filter(),
    }


def device_filter() -> Answers:
    """Whether a BPF program may decide about devices: the shortest one that the kernel verifies is loaded, and let go.

    Source: bpf(2), BPF_PROG_LOAD; Documentation/bpf/standardization/instruction-set.rst."""
    number = SYS_BPF.get(os.uname().machine)
    if number is None:
        return {}
    program = ctypes.create_string_buffer(struct.pack("=QQ", 0x1_0000_00B7, 0x95))  # r0 = 1; exit
    license_ = ctypes.create_string_buffer(b"GPL")
    head = struct.pack("=IIQQ", BPF_PROG_TYPE_CGROUP_DEVICE, 2, ctypes.addressof(program), ctypes.addressof(license_))
    attributes = head + bytes(48 - len(head))
    return {"device_filter": error_of(lambda: os.close(call(number, BPF_PROG_LOAD, attributes, len(attributes))))}


def but_for(expected: int, attempt: Callable[[], object], *, also: int = 0) -> int:
    """The errno of an attempt that has to fail with `expected`: 0 where it does."""
    error = error_of(attempt)
    return 0 if error in (expected, also) else error


# --- mounts ----------------------------------------------------------------------------------------------------------


def new_mount(fstype: str, *options: str) -> int:
    """A detached mount. Raises OSError."""
    context = call(SYS_FSOPEN, fstype.encode(), 0)
    for option in options:
        key, _, value = option.partition("=")
        if value:
            call(SYS_FSCONFIG, context, FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        else:
            call(SYS_FSCONFIG, context, FSCONFIG_SET_FLAG, key.encode(), None, 0)
    call(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
    return call(SYS_FSMOUNT, context, 0, 0)


def attach(tree: int, directory: int, name: str) -> None:
    """Attach a detached mount below `directory`, or with no name on it. Raises OSError."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if name else MOVE_MOUNT_T_EMPTY_PATH)
    call(SYS_MOVE_MOUNT, tree, b"", directory, name.encode(), flags)


def write_through_overlay(stage: int, lower: str, upper: str, work: str, at: str) -> None:
    """Mount an overlay and write a file; one that can only be read raises OSError (EROFS) as well."""
    os.fchdir(stage)
    attach(new_mount("overlay", f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}", "userxattr"), stage, at)
    os.close(os.open(f"{at}/written", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=stage))


def mounts(stage_at: int, trees: tuple[int, ...]) -> Answers:
    """Overlays on a tmpfs, and on two trees whose ids are mapped; from inside the user namespace."""
    checked(LIBC.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    stage = new_mount("tmpfs", "mode=0755", "size=64k")
    attach(stage, stage_at, "")
    for name in ("lower", "upper", "work", "root", "0", "w", "mapped"):
        os.mkdir(name, dir_fd=stage)
    found = {"overlay_in_userns": error_of(lambda: write_through_overlay(stage, "lower", "upper", "work", "root"))}
    if trees:
        attach(trees[0], stage, "0")
        attach(trees[1], stage, "w")
        found["idmapped_overlay"] = error_of(lambda: write_through_overlay(stage, "0", "w/upper", "w/work", "mapped"))
    return found


# --- interfaces ------------------------------------------------------------------------------------------------------


def network() -> Answers:
    """Which kinds of interfaces and rules there are, in a network namespace that nobody uses."""
    if error := error_of(lambda: checked(LIBC.unshare(CLONE_NEWNET))):
        return {"network_namespace": error}
    found = {"network_namespace": 0}
    for kind in LINKS:
        error = netlink(socket.NETLINK_ROUTE, RTM_NEWLINK, NLM_F_NEW, new_link(kind))
        found[kind] = error if error == errno.EOPNOTSUPP else 0  # EINVAL: it wants to be told more
    if not found["bridge"]:
        found["bridge_vlan"] = bridge_vlan()
    found["nftables"] = netlink(NETLINK_NETFILTER, NFT_GETGEN, 0, bytes(4))
    return found


def bridge_vlan() -> int:
    """The errno of letting a VLAN through to a bridge, which is made for this."""
    index = 1000
    error = netlink(socket.NETLINK_ROUTE, RTM_NEWLINK, NLM_F_NEW, new_link("bridge", index))
    attributes = struct.pack("=HHHxxHHHH", 6, IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF, 8, IFLA_BRIDGE_VLAN_INFO, 0, 5)
    body = struct.pack("=BxHiII", AF_BRIDGE, 0, index, 0, 0)
    body += struct.pack("=HH", 4 + len(attributes), IFLA_AF_SPEC) + attributes
    return error or netlink(socket.NETLINK_ROUTE, RTM_SETLINK, 0, body)


def new_link(kind: str, index: int = 0) -> bytes:
    """A struct ifinfomsg, and after it the kind; the kernel chooses the name, and the index where it is 0."""
    name = kind.encode() + b"\0"
    info = struct.pack("=HH", 4 + len(name), IFLA_INFO_KIND) + name + bytes(-len(name) % 4)
    return struct.pack("=BxHiII", 0, 0, index, 0, 0) + struct.pack("=HH", 4 + len(info), IFLA_LINKINFO) + info


def netlink(family: int, message: int, flags: int, body: bytes) -> int:
    """Send one request; the errno that it is answered with."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as door:
            door.send(struct.pack("=IHHII", 16 + len(body), message, flags | NLM_F_REQUEST_ACK, 1, 0) + body)
            answer = door.recv(8192)
    except OSError as refused:
        return refused.errno or errno.EIO
    kind, error = struct.unpack_from("=4xH10xi", answer)
    return -int(error) if kind == NLMSG_ERROR else 0


# --- the two processes -----------------------------------------------------------------------------------------------


def inside(directory: str, trees: tuple[int, ...], say: int, hear: int) -> None:
    """The second process: leaves for new namespaces, waits until it is somebody there, tries, and reports."""
    error = error_of(lambda: checked(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS)))
    stage_at = os.open(directory, os.O_PATH | os.O_DIRECTORY)  # in the new namespace, and still as its owner
    os.write(say, b"%d\n" % error)
    are_trees_mapped = os.read(hear, 1)
    if error or not are_trees_mapped:
        return
    found: Answers = {}
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    try:
        found |= mounts(stage_at, trees if are_trees_mapped == b"y" else ())
    except OSError as refused:
        found["overlay_in_userns"] = refused.errno or errno.EIO
    os.write(say, json.dumps(found | network()).encode())


def become_root_of(pid: int) -> None:
    """Map id 0 of the user namespace of `pid`: to our own id, or as root to the next one, as a container's is another.

    Raises OSError."""
    uid, gid = (os.geteuid() or 1), (os.getegid() or 1)
    if os.geteuid():
        write(f"/proc/{pid}/setgroups", b"deny")
    write(f"/proc/{pid}/uid_map", b"0 %d 1\n" % uid)
    write(f"/proc/{pid}/gid_map", b"0 %d 1\n" % gid)


def write(path: str, data: bytes) -> None:
    """Write a file of /proc, which takes all at once. Raises OSError."""
    with open(path, "wb", buffering=0) as file:
        file.write(data)


def map_ids(tree: int, pid: int) -> None:
    """Shift the ids of a tree as they are in the user namespace of `pid`. Raises OSError."""
    with open(f"/proc/{pid}/ns/user") as userns:
        attributes = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, userns.fileno())
        call(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes))


def take_trees(directory: str) -> tuple[int, ...]:
    """Two detached trees of DIRECTORY, with what an instance would have. Raises OSError."""
    for name in ("lower", "writable", "writable/upper", "writable/work"):
        os.mkdir(f"{directory}/{name}", 0o755)
    paths = (os.fsencode(f"{directory}/{name}") for name in ("lower", "writable"))
    return tuple(call(SYS_OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE) for path in paths)


def outside(pid: int, trees: tuple[int, ...], say: int, hear: int) -> Answers:
    """What the first process does for the second one, and what it then hears from it."""
    with os.fdopen(hear, "rb") as answers, os.fdopen(say, "wb", buffering=0) as go_on:
        error = int(answers.readline())
        found = {"user_namespace": error or error_of(lambda: become_root_of(pid))}
        if found["user_namespace"]:
            return found
        if trees:
            found["idmapped_mounts"] = max(error_of(lambda tree=tree: map_ids(tree, pid)) for tree in trees)  # type: ignore[misc]
        go_on.write(b"y" if trees and not found["idmapped_mounts"] else b"n")
        report: Answers = json.loads(answers.read() or b"{}")
        return found | report


def main() -> None:
    """Try everything; two pipes hold the order of the processes."""
    directory = sys.argv[1]
    found = system_calls()
    trees: tuple[int, ...] = ()
    try:
        trees = take_trees(directory)
    except OSError as refused:
        found["idmapped_mounts"] = refused.errno or errno.EIO
    from_inside, to_outside = os.pipe()
    from_outside, to_inside = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to_inside)  # else it would wait for itself
        inside(directory, trees, to_outside, from_outside)
        return
    os.close(to_outside)
    os.close(from_outside)
    found |= outside(pid, trees, to_inside, from_inside)
    os.waitpid(pid, 0)
    if "network_namespace" not in found:
        found |= network()
    with open("/proc/filesystems") as filesystems:  # last: an attempt may have loaded the module
        found["overlay"] = 0 if "nodev\toverlay\n" in filesystems.readlines() else errno.ENODEV
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
