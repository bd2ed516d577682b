"""What drivers have in common whose trees are entries of a directory, by name.

<pool>/trees/<name>        a tree; a driver may have a suffix for it
<pool>/trash/<random>      one that is being deleted
"""

import contextlib
import os
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from cloison.base.disk import full_disk_named
from cloison.base.ids import new_id
from cloison.storage.driver import Space, Tree
from cloison.storage.plain import PlainDriver


class InDirectoryDriver(PlainDriver):
    """The pool `pool`, in the directory `path`."""

    _SUFFIX: ClassVar[str] = ""

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

    def names(self) -> tuple[str, ...]:
        """All trees that there are."""
        try:
            return tuple(sorted(name.removesuffix(self._SUFFIX) for name in os.listdir(self._trees)))
        except FileNotFoundError:
            return ()

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Rename to the trash what nobody mentions."""
        kept = {tree.name for tree in mentioned}
        gone = tuple(name for name in self.names() if name not in kept)
        for name in gone:
            self._discard(self._place(name))
        return gone

    @abstractmethod
    def sweep(self) -> None:
        """Delete what is in the trash."""

    # --- within --------------------------------------------------------------------------------------------

    def _place(self, name: str) -> str:
        return f"{self._trees}/{name}{self._SUFFIX}"

    def _discard(self, path: str) -> None:
        """Out of the way at once."""
        os.rename(path, f"{self._trash}/{new_id()}")
