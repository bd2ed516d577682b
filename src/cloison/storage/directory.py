"""The driver `dir`: every tree is a directory with all of its files, on any file system.

    <pool>/trees/<name>/       a tree
    <pool>/trash/<random>/     one that is being deleted

Copies share the contents of files where the file system can (xfs, btrfs, bcachefs): ioctl_ficlone(2).
"""

import contextlib
import os
from collections.abc import Iterator

from cloison.base.disk import full_disk_named
from cloison.base.ids import new_id
from cloison.spec.driver import RootFiles
from cloison.storage import quotas, trees
from cloison.storage.driver import NO_LIMIT, Abilities, Progress, Size, Tree, Used
from cloison.storage.in_directory import InDirectoryDriver


class DirectoryDriver(InDirectoryDriver):
    """The pool `pool`, in the directory `path`."""

    @property
    def abilities(self) -> Abilities:
        reason = quotas.why_not(self._pool, "dir", self._path)
        return Abilities(quota=reason, inode_quota=reason, is_instant=False, incremental=True)

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

    def sweep(self) -> None:
        """Delete what is in the trash."""
        trees.clean(self._trash, prefix="")

    # --- within --------------------------------------------------------------------------------------------

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
