"""What drivers have in common whose trees do not stack: each is a whole directory, with a copy of its image.

A driver of this kind says how an empty tree is made, how one becomes the copy of another, and where it can be reached;
the rest follows.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from cloison.base.disk import full_disk_named
from cloison.base.errors import NotFound
from cloison.storage.driver import NO_LIMIT, Progress, RootLayers, Size, Split, Tree, Used


class PlainDriver(ABC):
    """The pool `pool`, in the directory `path`."""

    def __init__(self, pool: str, path: str) -> None:
        self._pool = pool
        self._path = path
        self._trees = f"{path}/trees"
        self._trash = f"{path}/trash"

    # --- what a driver of this kind says -------------------------------------------------------------------

    _HAS_DISKS: ClassVar[bool] = False  # each tree is a file system, which can be too small for what is to come in

    @abstractmethod
    def _empty(self, size: Size) -> str:
        """Make a tree with nothing in it; its name."""

    @abstractmethod
    def _copy(self, tree: Tree, size: Size | None, progress: Progress | None, *, is_frozen: bool) -> str:
        """Make a tree with what is in another; its name. Without a `size`, it has that of the other."""

    @abstractmethod
    def _reached(self, name: str, *, is_read_only: bool) -> contextlib.AbstractContextManager[str]:
        """A path by which this process reaches a tree that nobody else writes to."""

    @abstractmethod
    def _remove(self, name: str) -> None:
        """Delete a tree that could not be made."""

    @abstractmethod
    def used(self, tree: Tree) -> Used:
        """What a tree takes, and its limits."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """All trees that there are."""

    # --- what follows --------------------------------------------------------------------------------------

    def create(self, layers: tuple[str, ...], size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """A tree with the files of an image's layers."""
        from cloison.storage import copying

        with self._made(self._empty(size)) as name:
            if layers:
                with self._reached(name, is_read_only=False) as path:
                    copying.copy(layers, path, progress=progress)
            return Tree(self._pool, name)

    def clone(self, frozen: Tree, size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """A copy of a frozen tree."""
        self._expect(frozen)
        with full_disk_named(self._path):
            return Tree(self._pool, self._copy(frozen, size, progress, is_frozen=False))

    def snapshot(self, tree: Tree, *, is_live: bool = False, progress: Progress | None = None) -> Split:
        """A copy of a tree, which goes on being written itself."""
        self._expect(tree)
        with full_disk_named(self._path):
            name = self._copy(tree, None, progress, is_frozen=True)
            return Split(Tree(self._pool, name, is_frozen=True), tree)

    @contextlib.contextmanager
    def directories(self, tree: Tree) -> Iterator[RootLayers]:
        """The tree's root directory alone."""
        self._expect(tree)
        with self._reached(tree.name, is_read_only=tree.is_frozen) as path:
            yield RootLayers((), path)

    @contextlib.contextmanager
    def opened(self, tree: Tree) -> Iterator[int]:
        """The tree's root directory: a mount of its own."""
        import os

        from cloison.kernel import mounts

        self._expect(tree)
        with self._reached(tree.name, is_read_only=tree.is_frozen) as path:
            fd = mounts.tree(path, is_read_only=tree.is_frozen)
            try:
                yield fd
            finally:
                os.close(fd)

    def changed(self, older: Tree, newer: Tree) -> Iterator[tuple[str, str]]:
        """What differs; of a directory that is gone, only itself is named."""
        from cloison.storage import scanning

        with self._both(older, newer) as (before, after):
            for what, item in scanning.delta((before,), (after,)):
                if what:
                    yield what, f"/{item.path}"

    def send(self, frozen: Tree, since: Tree | None = None) -> Iterator[bytes]:
        """All of it; or what leads from the other to it."""
        from cloison.storage import scanning, stream

        if since is None:
            self._expect(frozen)
            with self._reached(frozen.name, is_read_only=True) as path:
                yield from stream.encode(stream.Base.NOTHING, scanning.scan((path,)))
            return
        with self._both(since, frozen) as (before, after):
            found = scanning.delta((before,), (after,))
            yield from stream.encode(stream.Base.TREE, stream.only_changed(found))

    def receive(
        self, chunks: Iterable[bytes], lower: tuple[str, ...] = (), since: Tree | None = None, size: Size = NO_LIMIT
    ) -> Tree:
        """What the stream says, over a copy of what it is to be put upon."""
        from cloison.storage import copying, stream, writing

        reader = stream.Reader(chunks)
        below = stream.expected_below(reader.base, lower, since)
        with full_disk_named(self._path):
            if reader.base is stream.Base.TREE and since is not None:
                name = self._copy(since, self._room(size, since), None, is_frozen=False)
            else:
                name = self._empty(size if self._HAS_DISKS else NO_LIMIT)
        with self._made(name), self._reached(name, is_read_only=False) as path:
            if reader.base is stream.Base.LAYERS:
                copying.copy(below, path)
            with writing.Writer(path, is_stacked=False) as writer:
                reader.into(writer)
        self._freeze(name)
        return Tree(self._pool, name, is_frozen=True)

    def _room(self, size: Size, since: Tree) -> Size | None:
        """The size of a copy that is to become larger than what it is a copy of; None for the same."""
        present = self.used(since).limit.bytes if self._HAS_DISKS else None
        return Size(size.bytes) if size.bytes and present and size.bytes > present else None

    def _freeze(self, name: str) -> None:
        """Have the file system itself refuse changes; most cannot."""
        return

    @contextlib.contextmanager
    def _made(self, name: str) -> Iterator[str]:
        """Nothing of a new tree is left where it cannot be made; a full disk is named."""
        try:
            with full_disk_named(self._path):
                yield name
        except BaseException:
            self._remove(name)
            raise

    @contextlib.contextmanager
    def _both(self, older: Tree, newer: Tree) -> Iterator[tuple[str, str]]:
        for tree in (older, newer):
            self._expect(tree)
        with (
            self._reached(older.name, is_read_only=older.is_frozen) as before,
            self._reached(newer.name, is_read_only=newer.is_frozen) as after,
        ):
            yield before, after

    def _expect(self, tree: Tree) -> None:
        if tree.name not in self.names():
            raise NotFound(f"the pool {self._pool} has no tree {tree.name}", path=self._path)
