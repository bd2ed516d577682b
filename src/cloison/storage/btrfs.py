"""The driver `btrfs`: every tree is a subvolume, and shares with others all that is the same.

    <pool>/trees/<name>/          a tree; a frozen one is read-only
    <pool>/images/<digest>/       the files of an image's layers, read-only: trees are snapshots of it; <digest> is
                                  that of its layer, or of the paths of all
    <pool>/images/<digest>.from   the paths of those layers; when one is gone, so is this
    <pool>/trash/<random>/        what is being deleted

Source: btrfs-subvolume(8), btrfs-qgroup(8), btrfs-quota(8).
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator

from cloison.base.disk import full_disk_named
from cloison.base.errors import Host, Invalid, Unsupported
from cloison.base.ids import new_id
from cloison.base.units import exact_size, format_size
from cloison.kernel import subvolumes
from cloison.spec.driver import RootFiles
from cloison.storage import trees
from cloison.storage.driver import NO_LIMIT, Abilities, Progress, Size, Space, Tree, Used
from cloison.storage.in_directory import InDirectoryDriver
from cloison.storage.programs import Programs

_DIGEST = re.compile("[0-9a-f]{64}")
_NO_INODES = "btrfs cannot limit inodes; a pool of the driver loop, or of overlay on ext4 or xfs with prjquota, can"


class BtrfsDriver(InDirectoryDriver):
    """The pool `pool`, in the directory `path` of a btrfs."""

    def __init__(self, pool: str, path: str) -> None:
        super().__init__(pool, path)
        self._images = f"{path}/images"
        self._programs = Programs("btrfs-progs", path)

    @property
    def abilities(self) -> Abilities:
        return Abilities(inode_quota=_NO_INODES, incremental=True)

    def prepare(self) -> None:
        """Make the pool's own directories. Raises Unsupported where `path` is not in a btrfs."""
        with full_disk_named(self._path):
            os.makedirs(self._path, mode=0o700, exist_ok=True)
            if not subvolumes.are_possible(self._path):
                from cloison.kernel import inventory

                fstype = inventory.space(self._path).fstype
                raise Unsupported(
                    f"the pool {self._pool} needs a btrfs, and {self._path} is on {fstype}",
                    hint="give it a directory of a btrfs, or a disk: --source",
                )
            self._programs.require("btrfs")
            for path in (self._trees, self._images, self._trash):
                os.makedirs(path, mode=0o700, exist_ok=True)

    def destroy(self) -> None:
        """Take the pool's own directories and subvolumes away."""
        self.put_away(())
        for name in self._cached():
            self._forget(name)
        self.sweep()
        for path in (self._trees, self._images, self._trash):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)

    def space(self) -> Space:
        """That of the btrfs."""
        found = os.statvfs(self._path)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def create(self, layers: tuple[str, ...], size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """A snapshot of the image, which is copied here when it is used for the first time."""
        if not layers:
            return super().create(layers, size, progress=progress)
        image = self._image(layers, progress)
        with full_disk_named(self._path):
            return Tree(self._pool, self._snapped(image, size, is_frozen=False))

    def resize(self, tree: Tree, size: Size) -> None:
        """Set the limit of what the subvolume refers to, that of its image included.

        What was written a moment ago is counted only when it is on the disk, which a smaller limit waits for."""
        self._expect(tree)
        used = self.used(tree)
        if size.bytes is not None and (used.limit.bytes is None or size.bytes < used.limit.bytes):
            from cloison.kernel import files

            files.settle_at(self._place(tree.name))
            used = self.used(tree)
        if size.bytes is not None and size.bytes < used.bytes:
            raise Invalid(
                f"limits.disk={exact_size(size.bytes)} is less than the {format_size(used.bytes)} that are used"
            )
        self._limit(self._place(tree.name), size, was=used.limit)

    def used(self, tree: Tree) -> Used:
        """By its qgroup where there are quotas; else counted, what it shares with others included."""
        place = self._place(tree.name)
        with contextlib.suppress(Host):
            lines = self._programs.run("btrfs", "qgroup", "show", "-re", "--raw", "-f", place).splitlines()
            for line in lines:
                fields = line.split()
                if len(fields) >= 4 and fields[0].startswith("0/") and fields[1].isdecimal():
                    limit = int(fields[3]) if fields[3].isdecimal() else None
                    return Used(int(fields[1]), limit=Size(limit))
        return Used(trees.usage_bytes(place))

    def root(self, tree: Tree) -> RootFiles:
        """The subvolume itself."""
        return RootFiles((), self._place(tree.name))

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Rename to the trash what nobody mentions, and images whose layers are gone."""
        gone = super().put_away(mentioned)
        for name in self._cached():
            if name.startswith(".") or not self._is_current(name):
                self._forget(name)
        return gone

    def sweep(self) -> None:
        """Delete the subvolumes in the trash."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._trash):
                with contextlib.suppress(Host):  # what is in use stays until it is no longer
                    self._delete(f"{self._trash}/{name}")

    # --- within --------------------------------------------------------------------------------------------

    def _empty(self, size: Size) -> str:
        name = new_id()
        with self._asked("make"):
            subvolumes.create(self._place(name))
        with self._made(name):
            os.chmod(self._place(name), 0o755)
            if size != NO_LIMIT:
                self._limit(self._place(name), size)
        return name

    def _copy(self, tree: Tree, size: Size | None, progress: Progress | None, *, is_frozen: bool) -> str:
        return self._snapped(self._place(tree.name), size or NO_LIMIT, is_frozen=is_frozen)

    def _snapped(self, source: str, size: Size, *, is_frozen: bool) -> str:
        name = new_id()
        with self._asked("snapshot"):
            subvolumes.snapshot(source, self._place(name), is_read_only=is_frozen)
        if size != NO_LIMIT:
            with self._made(name):
                self._limit(self._place(name), size)
        return name

    @contextlib.contextmanager
    def _reached(self, name: str, *, is_read_only: bool) -> Iterator[str]:
        yield self._place(name)

    def _freeze(self, name: str) -> None:
        with self._asked("freeze"):
            subvolumes.set_read_only(self._place(name), is_read_only=True)

    def _remove(self, name: str) -> None:
        self._delete(self._place(name))

    def _discard(self, path: str) -> None:
        """Out of the way at once: a read-only subvolume cannot be renamed, and is deleted instead."""
        try:
            os.rename(path, f"{self._trash}/{new_id()}")
        except OSError:
            self._delete(path)

    def _delete(self, path: str) -> None:
        """Delete a subvolume, with those that a guest has made in it."""
        with self._asked("delete"):
            try:
                subvolumes.delete(path)
                return
            except FileNotFoundError:
                return  # somebody else has swept it
            except OSError as problem:
                if problem.errno not in (errno.ENOTEMPTY, errno.EROFS):
                    raise
            roots = [each for each, _dirs, _files in os.walk(path) if os.lstat(each).st_ino == subvolumes.ROOT_INODE]
            for each in roots:
                subvolumes.set_read_only(each, is_read_only=False)  # or nothing can be taken out of it
            for each in reversed(roots):  # the outermost, which came first, goes last
                subvolumes.delete(each)

    @contextlib.contextmanager
    def _asked(self, doing: str) -> Iterator[None]:
        """Raise NoSpace or Host for what the file system refuses."""
        try:
            with full_disk_named(self._path):
                yield
        except OSError as problem:
            raise Host(
                f"the pool {self._pool} cannot {doing} a subvolume in {self._path}: {problem.strerror}"
            ) from problem

    def _limit(self, place: str, size: Size, *, was: Size = NO_LIMIT) -> None:
        if size.inodes is not None:
            raise Unsupported(f"the pool {self._pool}: {_NO_INODES}")
        if size == was:
            return
        self._enable_quotas()
        self._programs.run("btrfs", "qgroup", "limit", "none" if size.bytes is None else str(size.bytes), place)

    def _enable_quotas(self) -> None:
        """Simple ones, which cost nearly nothing, where kernel (6.7) and program have them; else those that count."""
        with contextlib.suppress(Host):
            self._programs.run("btrfs", "qgroup", "show", self._path)
            return
        try:
            self._programs.run("btrfs", "quota", "enable", "--simple", self._path)
        except Host:
            self._programs.run("btrfs", "quota", "enable", self._path)
            self._programs.run("btrfs", "quota", "rescan", "-w", self._path)

    # --- images --------------------------------------------------------------------------------------------

    def _image(self, layers: tuple[str, ...], progress: Progress | None) -> str:
        place = f"{self._images}/{_name_of(layers)}"
        if os.path.isdir(place):
            return place
        from cloison.storage import copying

        beside = f"{self._images}/.{new_id()}"
        with full_disk_named(self._path):
            subvolumes.create(beside)  # unseen, until all is in it
            try:
                copying.copy(layers, beside, progress=progress)
                with open(f"{place}.from", "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write("\n".join(layers))
                with contextlib.suppress(OSError):  # somebody was faster
                    os.rename(beside, place)
                subvolumes.set_read_only(place, is_read_only=True)
            finally:
                if os.path.isdir(beside):
                    self._delete(beside)
        return place

    def _forget(self, name: str) -> None:
        """Drop a copied image; trees that were made of it stay as they are."""
        self._discard(f"{self._images}/{name}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._images}/{name}.from")

    def _cached(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self._images) if not name.endswith(".from"))
        return []

    def _is_current(self, digest: str) -> bool:
        try:
            with open(f"{self._images}/{digest}.from", encoding="utf-8", errors="surrogateescape") as file:
                return all(os.path.isdir(path) for path in file.read().split("\n"))
        except FileNotFoundError:
            return False


def _name_of(layers: tuple[str, ...]) -> str:
    """The name that an image has here: of one layer, which is called by its digest, that of the layer."""
    name = os.path.basename(layers[0])
    if len(layers) == 1 and _DIGEST.fullmatch(name):
        return name[:32]
    import hashlib  # with all of libcrypto: longer than the snapshot

    return hashlib.sha256("\n".join(layers).encode()).hexdigest()[:32]
