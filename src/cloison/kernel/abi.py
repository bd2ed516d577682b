"""Numbers and names of the Linux ABI. Pure: no system call is made here.

Source: the kernel's uapi headers; the pages cited beside each group.
"""

from typing import Final

# clone(2), setns(2), unshare(2)
CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# The words of the OCI runtime specification (config-linux.md, "Namespaces") and their flags.
NAMESPACE_FLAGS: Final = {
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "mount": CLONE_NEWNS,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "user": CLONE_NEWUSER,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}

# open(2), x86_64 and aarch64 agree on these but for O_DIRECTORY and O_NOFOLLOW, which Python's os knows.
O_PATH: Final = 0o10000000
AT_RECURSIVE: Final = 0x8000  # mount_setattr(2), open_tree(2)
OPEN_TREE_CLONE: Final = 1

# mount_setattr(2), since Linux 5.12
MOUNT_ATTR_RDONLY: Final = 0x00000001
MOUNT_ATTR_NOSUID: Final = 0x00000002
MOUNT_ATTR_NODEV: Final = 0x00000004
MOUNT_ATTR_NOEXEC: Final = 0x00000008
MOUNT_ATTR__ATIME: Final = 0x00000070
MOUNT_ATTR_RELATIME: Final = 0x00000000
MOUNT_ATTR_NOATIME: Final = 0x00000010
MOUNT_ATTR_STRICTATIME: Final = 0x00000020
MOUNT_ATTR_NODIRATIME: Final = 0x00000080
MOUNT_ATTR_IDMAP: Final = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x00200000

# mount(2), propagation
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20

# mount options of fstab(5) that are attributes of a mount and not of its file system: (set, clear)
MOUNT_ATTRIBUTE_OPTIONS: Final = {
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "noatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "relatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "strictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
}
PROPAGATION_OPTIONS: Final = {
    "private": (MS_PRIVATE, False),
    "rprivate": (MS_PRIVATE, True),
    "slave": (MS_SLAVE, False),
    "rslave": (MS_SLAVE, True),
    "shared": (MS_SHARED, False),
    "rshared": (MS_SHARED, True),
    "unbindable": (MS_UNBINDABLE, False),
    "runbindable": (MS_UNBINDABLE, True),
}

# getrlimit(2), asm-generic/resource.h
RLIMITS: Final = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
