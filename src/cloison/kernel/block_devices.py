"""Block devices of this host: from what people call them to the numbers that the kernel limits.

    sda, nvme0n1p2, mapper/root, loop0      a name below /dev
    /dev/disk/by-uuid/…                     a device node, or a link to one
    8:0                                     the numbers
    /var/lib, /srv/data.img                 any other path: the device that its file system is on

Limits of block I/O belong to whole disks: of a partition, its disk is meant. Source: sysfs(5), proc(5), "mountinfo";
Documentation/admin-guide/cgroup-v2.rst, "io.max".
"""

import os
import stat
from collections.abc import Iterator

from cloison.base.errors import Invalid
from cloison.kernel.probe import read_text

Numbers = tuple[int, int]
_STACKED = {"overlay": "upperdir="}
_MAX_STACKED = 8  # file systems over file systems; the kernel itself stops at 2 for overlayfs


def whole_disk(name: str, *, sys: str = "/sys", mountinfo: str = "/proc/self/mountinfo") -> Numbers:
    """The numbers (major, minor) of the disk that `name` is or is on. Raises Invalid."""
    numbers = _numbers(name, mountinfo)
    place = f"{sys}/dev/block/{_text(numbers)}"
    if not os.path.exists(place):
        raise Invalid(f"{name} ({_text(numbers)}) is no block device of this host", hint="lsblk lists them")
    if os.path.exists(f"{place}/partition"):
        numbers = _parsed(read_text(f"{place}/../dev"))  # a link to the partition, whose directory is in its disk's
    return numbers


def _numbers(name: str, mountinfo: str) -> Numbers:
    major, colon, minor = name.partition(":")
    if colon and major.isdecimal() and minor.isdecimal():
        return int(major), int(minor)
    path = name if name.startswith("/") else f"/dev/{name}"
    try:
        found = os.stat(path)
    except OSError as problem:
        what = f"there is no device or path {name!r}" if isinstance(problem, FileNotFoundError) else str(problem)
        raise Invalid(what, hint="name a block device, such as sda, or a mount point; lsblk lists both") from problem
    if stat.S_ISBLK(found.st_mode):
        return os.major(found.st_rdev), os.minor(found.st_rdev)
    if not name.startswith("/") or stat.S_ISCHR(found.st_mode):
        raise Invalid(f"{name} is no block device", hint="name one, such as sda, or a mount point; lsblk lists both")
    return _under(name, path, mountinfo, depth=0)


def _under(name: str, path: str, mountinfo: str, *, depth: int) -> Numbers:
    """The device under the file system that `path` is on. One with a device of its own has it as `st_dev`; the others
    (btrfs, overlay, tmpfs) have an anonymous one there, with major 0."""
    device = os.stat(path).st_dev
    if os.major(device):
        return os.major(device), os.minor(device)
    fstype, source, options = _mount(os.path.realpath(path), mountinfo)
    for option in options:
        if fstype in _STACKED and option.startswith(_STACKED[fstype]) and depth < _MAX_STACKED:
            below = option.removeprefix(_STACKED[fstype])
            if os.path.exists(below):
                return _under(name, below, mountinfo, depth=depth + 1)
    if fstype == "btrfs":
        _require_one_device(name, source)
    if source.startswith("/dev/") and os.path.exists(source) and stat.S_ISBLK(os.stat(source).st_mode):
        found = os.stat(source).st_rdev
        return os.major(found), os.minor(found)
    raise Invalid(
        f"{name} is on {fstype}, which has no block device", hint="name a block device, such as sda, or another path"
    )


def _require_one_device(name: str, source: str) -> None:
    """A btrfs of several devices reads from and writes to all of them. Source: /sys/fs/btrfs/UUID/devices."""
    own = os.path.basename(os.path.realpath(source))
    for devices in _btrfs_devices():
        if own in devices and len(devices) > 1:
            raise Invalid(f"{name} is on btrfs of {len(devices)} devices", hint=f"limit each: {', '.join(devices)}")


def _btrfs_devices() -> Iterator[list[str]]:
    top = "/sys/fs/btrfs"
    for fsid in os.listdir(top) if os.path.isdir(top) else ():
        if os.path.isdir(f"{top}/{fsid}/devices"):
            yield sorted(os.listdir(f"{top}/{fsid}/devices"))


def _mount(path: str, mountinfo: str) -> tuple[str, str, tuple[str, ...]]:
    """Type, source and options of the file system that `path` is on: the last of the longest mount points above it."""
    best = -1
    found: tuple[str, str, tuple[str, ...]] = ("?", "", ())
    for line in read_text(mountinfo).splitlines():
        left, _, right = line.partition(" - ")
        mountpoint = _unescaped(left.split(" ", 5)[4]).rstrip("/")
        if len(mountpoint) >= best and f"{path}/".startswith(mountpoint + "/"):
            fstype, source, options = right.split(" ", 2)
            best, found = len(mountpoint), (fstype, _unescaped(source), tuple(_unescaped(options).split(",")))
    return found


def _unescaped(field: str) -> str:
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(written, meant)
    return field


def _parsed(text: str) -> Numbers:
    major, _, minor = text.strip().partition(":")
    return int(major), int(minor)


def _text(numbers: Numbers) -> str:
    return f"{numbers[0]}:{numbers[1]}"
