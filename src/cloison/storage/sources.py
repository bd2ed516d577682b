"""What a pool is made in: a directory, a disk, or a file in the place of one.

<home>/disk.img    the file, of a pool that was given a size and nothing else
<home>/mount/      where a disk or a file is mounted; it is mounted again when it is needed and is not
"""

import contextlib
import os
import stat
from collections.abc import Iterable

import msgspec

from cloison.base.errors import Exists, Invalid, NotFound, Unsupported
from cloison.base.units import parse_size
from cloison.kernel import inventory
from cloison.storage import drivers
from cloison.storage.programs import Programs

LEAST_BYTES = 128 << 20  # mkfs.btrfs(8) wants 109 MiB
_KNOWN = {
    "loop": {"size": "such as 10G", "user_quotas": "true or false"},
    "lvm": {"size": "such as 10G"},
}
_BY_NAME = {"lvm": "a volume group and a thin pool, such as vg0/thin", "zfs": "a dataset, such as tank/cloison"}


class Source(msgspec.Struct, frozen=True):
    """A directory; and what is mounted there, if anything. Files of cloison's own are below the pool's home."""

    directory: str
    device: str = ""


def options(driver: str, size: str, assignments: Iterable[str]) -> dict[str, str]:
    """The options of a pool. Raises Invalid for what its driver does not know."""
    if driver not in drivers.NAMES:
        raise Invalid(f"there is no storage driver {driver!r}", hint=f"there is {', '.join(drivers.NAMES)}")
    known = _KNOWN.get(driver, {})
    found = {"size": size} if size and "size" in known else {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or key not in known:
            possible = ", ".join(f"{name}= ({example})" for name, example in known.items()) or "none"
            raise Invalid(f"{assignment!r} is no option of the storage driver {driver}; possible: {possible}")
        found[key] = value
    if "size" in found:
        length = parse_size(found["size"], key="size")
        if driver in ("loop", "lvm"):  # of a tree: a file system of its own
            from cloison.storage import ext4

            ext4.expect_enough("size", length)
    if found.get("user_quotas", "true") not in ("true", "false"):
        raise Invalid(f"user_quotas={found['user_quotas']}: write true or false")
    return found


def made(driver: str, home: str, source: str, size: str) -> Source:
    """The place of a new pool. Raises Invalid, NotFound, Exists, Unsupported."""
    if size and driver not in ("btrfs", "loop", "lvm"):
        raise Invalid(f"--size is for the storage drivers btrfs, loop and lvm, not for {driver}")
    if driver in _BY_NAME:
        if source.startswith(("/", "-")) or not source.replace("/", "") or (driver == "lvm" and source.count("/") != 1):
            raise Invalid(f"--source {source or 'is missing'}: write {_BY_NAME[driver]}")
        return Source(source)
    if not source:
        return _in_file(home, size) if driver == "btrfs" and size else Source("")
    if size and driver == "btrfs":
        raise Invalid("--size is for a pool that has no --source")
    if not source.startswith("/"):
        raise Invalid(f"--source {source}: write an absolute path, of a directory or for btrfs of a disk")
    try:
        mode = os.stat(source).st_mode
    except FileNotFoundError:
        raise NotFound(f"there is no {source}", hint="make the directory first", path=source) from None
    if stat.S_ISDIR(mode):
        if driver != "btrfs":  # which looks at what the directory is on
            _expect_writable(source)
        return Source(os.path.realpath(source))
    if not stat.S_ISBLK(mode) or driver != "btrfs":
        raise Invalid(f"--source {source}: that is no directory", hint="only btrfs pools are made on a disk")
    return _on_disk(home, source)


def _expect_writable(directory: str) -> None:
    """Raises Invalid for a directory such as /proc, or one of a read-only file system."""
    probe = f"{directory}/.cloison-{os.urandom(4).hex()}"
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as problem:
        raise Invalid(
            f"--source {directory}: nothing can be made in it: {problem.strerror}", path=directory
        ) from problem


def _in_file(home: str, size: str) -> Source:
    length = parse_size(size, key="--size")
    if length < LEAST_BYTES:
        raise Invalid(f"--size {size}: a btrfs has at least {LEAST_BYTES >> 20}M")
    image = f"{home}/disk.img"
    fd = os.open(image, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, length)
    finally:
        os.close(fd)
    source = Source(f"{home}/mount", image)
    try:
        Programs("btrfs-progs", home).run("mkfs.btrfs", "-q", image)
        mount(image, source.directory)
    except BaseException:
        unmade(source)
        raise
    return source


def _on_disk(home: str, disk: str) -> Source:
    """A disk with nothing on it gets a btrfs; one that has one keeps it."""
    said = Programs("util-linux", home).run("blkid", "-p", "-o", "value", "-s", "TYPE", disk, fine=(0, 2)).strip()
    if said not in ("", "btrfs"):
        raise Exists(f"there is a {said} on {disk}", hint=f"if it is not needed: wipefs --all {disk}")
    if not said:
        Programs("btrfs-progs", home).run("mkfs.btrfs", "-q", disk)
    mount(disk, f"{home}/mount")
    return Source(f"{home}/mount", disk)


def mount(device: str, directory: str) -> None:
    """Mount what a pool is on, after a start of the machine too."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if inventory.space(directory).fstype == "btrfs" and os.path.ismount(directory):
        return
    if not os.path.exists(device):
        raise Unsupported(f"{device} is missing, and with it a storage pool", hint="plug the disk in", path=device)
    loop = [] if device.startswith("/dev/") else ["-o", "loop"]
    Programs("mount", directory).run("mount", "-t", "btrfs", *loop, device, directory)


def unmade(source: Source) -> None:
    """Take back what was made for a pool; a directory or a disk that was given stays."""
    if not source.device:
        return
    if os.path.ismount(source.directory):
        Programs("mount", source.directory).run("umount", source.directory)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(source.directory)
    if source.device == f"{os.path.dirname(source.directory)}/disk.img":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(source.device)
