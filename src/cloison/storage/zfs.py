"""The driver `zfs`: every tree is a dataset, and shares with others all that is the same.

The pool's place is a dataset that is mounted; trees are datasets in it, mounted below it. A copy is a clone of a
snapshot that bears the copy's name; what has copies cannot be destroyed before one of them has taken that snapshot over
(`zfs promote`).

    tank/cloison                    the place
    tank/cloison/<name>             a tree; a frozen one is read-only
    tank/cloison/<name>@<copy>      where a copy comes from
    tank/cloison/trash-<name>       one that is being deleted

Source: zfs-create(8), zfs-clone(8), zfs-promote(8), zfsprops(7).
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from cloison.base.errors import Host, Invalid, Unsupported
from cloison.base.ids import new_id
from cloison.base.units import exact_size, format_size
from cloison.spec.driver import RootFiles
from cloison.storage.driver import NO_LIMIT, Abilities, Progress, Size, Space, Tree, Used
from cloison.storage.plain import PlainDriver
from cloison.storage.programs import Programs

_TRASH = "trash-"
_NO_INODES = "zfs cannot limit inodes; a pool of the driver loop, or of overlay on ext4 or xfs with prjquota, can"


class ZfsDriver(PlainDriver):
    """The pool `pool`, in the dataset `place`."""

    def __init__(self, pool: str, place: str) -> None:
        super().__init__(pool, place)
        self._zfs = Programs("zfsutils-linux", place)

    @property
    def abilities(self) -> Abilities:
        return Abilities(inode_quota=_NO_INODES, incremental=True)

    def prepare(self) -> None:
        """Raises Unsupported without zfs, Host for what is no dataset, Invalid for one that is not mounted."""
        self._zfs.require("zfs")
        if not self._property("mountpoint", self._path).startswith("/"):
            raise Invalid(f"the dataset {self._path} is not mounted", hint=f"zfs set mountpoint=PATH {self._path}")
        os.chmod(self._top(), 0o700)

    def destroy(self) -> None:
        """Destroy what the pool has in its dataset, which stays."""
        self.put_away(())
        self.sweep()

    def space(self) -> Space:
        """What the dataset and those in it have and may still have."""
        used, free = (int(self._property(name, self._path)) for name in ("used", "available"))
        return Space(used + free, free)

    def resize(self, tree: Tree, size: Size) -> None:
        """Set `refquota`: what the dataset refers to, that of its image included. Raises Invalid for less than that."""
        self._expect(tree)
        self._expect_no_inodes(size)
        used = int(self._property("referenced", self._dataset(tree.name)))
        if size.bytes is not None and size.bytes < used:
            raise Invalid(f"limits.disk={exact_size(size.bytes)} is less than the {format_size(used)} that are used")
        self._zfs.run("zfs", "set", f"refquota={_quota(size)}", self._dataset(tree.name))

    def used(self, tree: Tree) -> Used:
        """What the dataset refers to, and its limit."""
        dataset = self._dataset(tree.name)
        limit = int(self._property("refquota", dataset))
        return Used(int(self._property("referenced", dataset)), limit=Size(limit or None))

    def root(self, tree: Tree) -> RootFiles:
        """The directory where the dataset is mounted."""
        return RootFiles((), f"{self._top()}/{tree.name}")

    def names(self) -> tuple[str, ...]:
        """All trees that there are."""
        return tuple(sorted(name for name in self._children() if not name.startswith(_TRASH)))

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Rename what nobody mentions."""
        kept = {tree.name for tree in mentioned}
        gone = tuple(name for name in self.names() if name not in kept)
        for name in gone:
            self._zfs.run("zfs", "rename", self._dataset(name), self._dataset(_TRASH + name))
        return gone

    def sweep(self) -> None:
        """Destroy what has been put away; what is busy stays for another time."""
        for name in self._children():
            if name.startswith(_TRASH):
                with contextlib.suppress(Host):
                    self._remove(name)

    # --- within --------------------------------------------------------------------------------------------

    def _dataset(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _top(self) -> str:
        return self._property("mountpoint", self._path)

    def _property(self, name: str, dataset: str) -> str:
        return self._zfs.run("zfs", "get", "-H", "-p", "-o", "value", name, dataset).strip()

    def _children(self) -> list[str]:
        said = self._zfs.run("zfs", "list", "-H", "-o", "name", "-t", "filesystem", "-d", "1", self._path)
        return [line.removeprefix(f"{self._path}/") for line in said.splitlines() if line != self._path]

    def _empty(self, size: Size) -> str:
        self._expect_no_inodes(size)
        name = new_id()
        options = ("-o", "xattr=sa", "-o", "acltype=posixacl", "-o", f"refquota={_quota(size)}")
        self._zfs.run("zfs", "create", *options, self._dataset(name))
        with self._made(name):
            os.chmod(f"{self._top()}/{name}", 0o755)
        return name

    def _copy(self, tree: Tree, size: Size | None, progress: Progress | None, *, is_frozen: bool) -> str:
        wanted = size or NO_LIMIT
        self._expect_no_inodes(wanted)
        name = new_id()
        snapshot = f"{self._dataset(tree.name)}@{name}"
        options = ("-o", "xattr=sa", "-o", "acltype=posixacl", "-o", f"refquota={_quota(wanted)}")
        read_only = ("-o", "readonly=on") if is_frozen else ()
        self._zfs.run("zfs", "snapshot", snapshot)
        self._zfs.run("zfs", "clone", *options, *read_only, snapshot, self._dataset(name))
        return name

    @contextlib.contextmanager
    def _reached(self, name: str, *, is_read_only: bool) -> Iterator[str]:
        yield f"{self._top()}/{name}"

    def _freeze(self, name: str) -> None:
        self._zfs.run("zfs", "set", "readonly=on", self._dataset(name))

    def _remove(self, name: str) -> None:
        """Destroy a dataset; the copies of its snapshots become their owners first, the one that has most of them."""
        dataset = self._dataset(name)
        clones = self._zfs.run("zfs", "list", "-H", "-o", "clones", "-t", "snapshot", "-s", "createtxg", dataset)
        known = [each for line in clones.splitlines() for each in line.split(",") if each not in ("", "-")]
        if known:
            self._zfs.run("zfs", "promote", known[-1])
        origin = self._property("origin", dataset)
        self._zfs.run("zfs", "destroy", "-r", dataset)
        if "@" in origin:
            with contextlib.suppress(Host):  # others come from it as well
                self._zfs.run("zfs", "destroy", origin)

    def _expect_no_inodes(self, size: Size) -> None:
        if size.inodes is not None:
            raise Unsupported(f"the pool {self._pool}: {_NO_INODES}")


def _quota(size: Size) -> str:
    return "none" if size.bytes is None else str(size.bytes)
