"""The driver `loop`: every tree is an ext4 in a file of its own, mounted by the plan of the start.

    <pool>/trees/<name>.img    a tree; sparse, as long as its limit
    <pool>/trash/<random>      one that is being deleted

So a tree has its own limit of bytes and of inodes, on any file system, and `df` inside tells it. The file takes what is
written into it, and gives nothing back when files are deleted inside.
Source: mke2fs(8), resize2fs(8), e2fsck(8), loop(4).
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from cloison.base.disk import full_disk_named, no_space
from cloison.base.errors import Busy, Host, Invalid, Unsupported, WrongState
from cloison.base.ids import new_id
from cloison.base.units import exact_size
from cloison.kernel import files, loops, mounts, paths
from cloison.spec.driver import RootFiles
from cloison.storage import ext4
from cloison.storage.driver import Abilities, Progress, Size, Tree, Used
from cloison.storage.in_directory import InDirectoryDriver
from cloison.storage.programs import Programs

_PATIENCE_S = 10.0  # for the kernel, which lets go of a file system when its last mount namespace is gone
_NEARLY_FULL = 16 << 20
_USER_QUOTAS = ("usrquota", "grpquota")


class LoopDriver(InDirectoryDriver):
    """The pool `pool`, in the directory `path`. `default_bytes` is the size of a tree that is given none;
    `has_user_quotas`: they are counted for users and groups inside."""

    _SUFFIX = ".img"
    _HAS_DISKS = True

    def __init__(self, pool: str, path: str, *, default_bytes: int, has_user_quotas: bool = False) -> None:
        super().__init__(pool, path)
        self._default_bytes = default_bytes
        self._has_user_quotas = has_user_quotas
        self._programs = Programs("e2fsprogs", path)

    @property
    def abilities(self) -> Abilities:
        return Abilities(is_instant=False, incremental=True)

    def prepare(self) -> None:
        """Make the pool's own directories. Raises Unsupported without e2fsprogs."""
        super().prepare()
        self._programs.require("mkfs.ext4", "e2fsck", "resize2fs")

    def resize(self, tree: Tree, size: Size) -> None:
        """Grow it, also while it is mounted; shrink it while it is not. Raises WrongState, Invalid, Unsupported."""
        self._expect(tree)
        wanted = ext4.rounded(self._default_bytes if size.bytes is None else size.bytes)
        image = self._place(tree.name)
        present, inodes = os.stat(image).st_size, _inodes(image)
        if size.inodes is not None and (size.inodes > inodes or (wanted == present and size.inodes != inodes)):
            raise Unsupported(f"limits.inodes={size.inodes} cannot be: {ext4.NO_INODES}; this one has {inodes}")
        if wanted == present:
            return
        held = loops.devices(image)
        if wanted < present and held:
            raise WrongState(f"the disk of {tree.name} cannot be made smaller while it runs", hint="stop it first")
        with full_disk_named(self._path):
            if held:
                self._grow_mounted(image, held[0], present, wanted)
            elif wanted > present:
                _lengthen(image, wanted)
                ext4.check(self._programs, image)
                ext4.grow(self._programs, image)
                self._tidy(tree.name)
            else:
                self._shrink(image, wanted)
                self._tidy(tree.name)

    def used(self, tree: Tree) -> Used:
        """What the file takes of the pool, and how long it may become."""
        try:
            found = os.stat(self._place(tree.name))
        except FileNotFoundError:
            return Used(0)
        return Used(found.st_blocks * 512, limit=Size(found.st_size))

    def root(self, tree: Tree) -> RootFiles:
        """A file to be mounted."""
        image = self._place(tree.name)
        return RootFiles((), "", image=image, options=_USER_QUOTAS if _counts_users(image) else ())

    @contextlib.contextmanager
    def opened(self, tree: Tree) -> Iterator[int]:
        """The mount itself: before Linux 6.15 nobody can copy one that is attached nowhere."""
        self._expect(tree)
        with self._reached(tree.name, is_read_only=tree.is_frozen) as path, paths.held(path) as fd:
            yield fd

    def sweep(self) -> None:
        """Delete what is in the trash; a file that is still mounted goes when it is not."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._trash):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._trash}/{name}")

    # --- within --------------------------------------------------------------------------------------------

    def _empty(self, size: Size) -> str:
        name = new_id()
        image = self._place(name)
        length = ext4.rounded(self._default_bytes if size.bytes is None else size.bytes)
        with self._made(name):
            os.close(os.open(image, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            _lengthen(image, length)
            ext4.make(self._programs, image, inodes=size.inodes, has_user_quotas=self._has_user_quotas)
            try:
                self._tidy(name)
            except OSError as problem:
                if problem.errno != errno.EINVAL or not self._has_user_quotas:
                    raise
                raise Unsupported(
                    f"the pool {self._pool} cannot count what users have: this kernel has no quotas (CONFIG_QFMT_V2)",
                    hint=f"cloison storage set {self._pool} user_quotas=false",
                ) from problem
        return name

    def _copy(self, tree: Tree, size: Size | None, progress: Progress | None, *, is_frozen: bool) -> str:
        """The file, with its holes; what a mounted one has in its journal is put into place."""
        name = new_id()
        source = os.open(self._place(tree.name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self._made(name):
                length = os.fstat(source).st_size
                target = os.open(self._place(name), os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
                try:
                    if not files.share(source, target):
                        files.copy(source, target, length)
                finally:
                    os.close(target)
                ext4.replay(self._programs, self._place(name))
                if size is not None and size.bytes is not None:
                    self.resize(Tree(self._pool, name), Size(size.bytes))
        finally:
            os.close(source)
        return name

    @contextlib.contextmanager
    def _reached(self, name: str, *, is_read_only: bool) -> Iterator[str]:
        """A mount that is attached nowhere, by the path of its descriptor."""
        image = self._place(name)
        self._await_idle(image)
        with loops.attached(image, is_read_only=is_read_only) as device:
            fd = mounts.device("ext4", device, is_read_only=is_read_only)
        try:
            yield f"/proc/self/fd/{fd}/."
            if not is_read_only:
                self._settle(fd)
        finally:
            os.close(fd)
            if not is_read_only:
                self._await_idle(image)

    def _settle(self, fd: int) -> None:
        """What was written is in the file. Its holes are filled only now, and the disk below may be full."""
        try:
            files.settle(fd)
        except OSError as problem:
            if problem.errno != errno.EIO or (self.space().free_bytes or 0) > _NEARLY_FULL:
                raise
            raise no_space(self._path) from problem

    def _await_idle(self, image: str) -> None:
        """Two mounts of one file by two devices would destroy it."""
        deadline = time.monotonic() + _PATIENCE_S
        while held := loops.devices(image):
            if time.monotonic() > deadline:
                raise Busy(f"{image} is mounted, as {held[0]}", hint="stop the instance, or unmount it")
            time.sleep(0.002)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place(name))

    def _tidy(self, name: str) -> None:
        """e2fsck makes lost+found where there is none; so does mkfs. It is made again when something is put there."""
        with self._reached(name, is_read_only=False) as path, contextlib.suppress(OSError):
            os.rmdir(f"{path}/lost+found")

    def _grow_mounted(self, image: str, device: str, present: int, wanted: int) -> None:
        """Raises Unsupported where the kernel lets only those do it who have CAP_SYS_RESOURCE, and root has not."""
        _lengthen(image, wanted)
        try:
            loops.grow(device)
            ext4.grow(self._programs, device)
        except BaseException as problem:
            os.truncate(image, present)
            loops.grow(device)
            if isinstance(problem, Host) and "Permission denied" in problem.sentence:
                raise Unsupported(
                    "the disk cannot grow while it is mounted: that needs CAP_SYS_RESOURCE, which root of this host"
                    " does not have",
                    hint="stop the instance first, or use --next-start",
                ) from problem
            raise

    def _shrink(self, image: str, wanted: int) -> None:
        self._await_idle(image)
        ext4.shrink(self._programs, image, wanted)
        os.truncate(image, wanted)


def _inodes(image: str) -> int:
    """How many inodes an ext4 has: the first field of its superblock, which begins at byte 1024."""
    with open(image, "rb") as file:
        file.seek(1024)
        return int.from_bytes(file.read(4), "little")


def _counts_users(image: str) -> bool:
    """Whether an ext4 was made with quotas: bit 8 of s_feature_ro_compat, at byte 100 of its superblock."""
    try:
        with open(image, "rb") as file:
            file.seek(1024 + 100)
            return bool(int.from_bytes(file.read(4), "little") & 0x100)
    except FileNotFoundError:
        return False  # for a plan that is only shown


def _lengthen(image: str, length: int) -> None:
    """Raises OSError of a full disk for a file that can never be so long there."""
    try:
        os.truncate(image, length)
    except OSError as problem:
        if problem.errno == errno.EFBIG:
            raise Invalid(
                f"limits.disk={exact_size(length)}: a file cannot be so long on that file system"
            ) from problem
        raise
