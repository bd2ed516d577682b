"""The driver `dir`: every tree is a directory with all of its files, on any file system.

    <pool>/trees/<name>/       a tree
    <pool>/trash/<random>/     one that is being deleted

Copies share the contents of files where the file system can (xfs, btrfs, bcachefs): ioctl_ficlone(2).
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from cloison.base.disk import full_disk_named
from cloison.base.ids import new_id
from cloison.spec.driver import RootFiles
from cloison.storage import quotas, trees
from cloison.storage.driver import NO_LIMIT, Abilities, Progress, Size, Space, Tree, Used
from cloison.storage.plain import PlainDriver


class DirectoryDriver(PlainDriver):
    """The pool `pool`, in the directory `path`."""

    @property
    def abilities(self) -> Abilities:
        reason = quotas.why_not(self._pool, "dir", self._path)
        return Abilities(quota=reason, inode_quota=reason, is_instant=False, incremental=True)

    def prepare(self) -> None:
        """Make the pool's own directories."""
        with full_disk_named(self._path):
            for path in (self._path, self._trees, self._trash):
                os.makedirs(path, mode=0o700, exist_ok=True)

    def destroy(self) -> None:
        """Take the pool's own directories away."""
        self.put_away(())
        self.sweep()
        for path in (self._trees, self._trash):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)

    def space(self) -> Space:
        """That of the file system that it is on, as root sees it."""
        found = os.statvfs(self._path)
        return Space(found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize)

    def resize(self, tree: Tree, size: Size) -> None:
        """Raises Unsupported where the file system has no project quotas."""
        self._expect(tree)
        quotas.limit(self._pool, "dir", self._place(tree.name), size)

    def used(self, tree: Tree) -> Used:
        """Counted, file by file; what it shares with others is counted for each."""
        place = self._place(tree.name)
        return quotas.used(place) or Used(trees.usage_bytes(place))

    def root(self, tree: Tree) -> RootFiles:
        """The directory itself."""
        return RootFiles((), self._place(tree.name))

    def names(self) -> tuple[str, ...]:
        """All trees that there are."""
        try:
            return tuple(sorted(os.listdir(self._trees)))
        except FileNotFoundError:
            return ()

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Rename to the trash what nobody mentions."""
        kept = {tree.name for tree in mentioned}
        gone = tuple(name for name in self.names() if name not in kept)
        for name in gone:
            os.rename(self._place(name), f"{self._trash}/{new_id()}")
        return gone

    def sweep(self) -> None:
        """Delete what is in the trash."""
        trees.clean(self._trash, prefix="")

    # --- within --------------------------------------------------------------------------------------------

    def _place(self, name: str) -> str:
        return f"{self._trees}/{name}"

    def _empty(self, size: Size) -> str:
        name = new_id()
        with full_disk_named(self._path):
            os.mkdir(self._place(name))
        with self._made(name):
            os.chmod(self._place(name), 0o755)
            if size != NO_LIMIT:
                quotas.limit(self._pool, "dir", self._place(name), size)
        return name

    def _copy(self, tree: Tree, size: Size | None, progress: Progress | None, *, is_frozen: bool) -> str:
        from cloison.storage import copying

        name = self._empty(NO_LIMIT if size is None else size)
        with self._made(name):
            copying.copy((self._place(tree.name),), self._place(name), progress=progress)
        return name

    @contextlib.contextmanager
    def _reached(self, name: str, *, is_read_only: bool) -> Iterator[str]:
        yield self._place(name)

    def _remove(self, name: str) -> None:
        trees.delete(self._place(name))
