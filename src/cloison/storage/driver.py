"""What a storage pool's driver offers to the engine. Pure.

Storage is a set of **trees**. A tree is a directory with files, known by a name that is unique in its pool and never
used twice. It is *writable* and belongs to one instance or volume, or it is *frozen*, never changes again, and
whoever mentions it shares it: snapshots, copies, the layers below an instance's own.

A driver knows trees, not instances: who mentions which tree is in the store, in one transaction with the rest of the
record. So no operation has a moment at which something is half true. New trees are made first; then the record is
written that mentions them, and no longer mentions others; then what nobody mentions is deleted. Whoever
dies in between leaves trees that nobody mentions, and the next collection (`put_away`, `sweep`; of `cloison repair`,
too) takes them. Who makes trees holds the pool's lock together with others until the record is written; who collects
has it for himself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from cloison.spec.driver import RootFiles

Progress = Callable[[str, int, int | None], None]


class Size(msgspec.Struct, frozen=True):
    """The most that a tree may hold; None for no limit of its own."""

    bytes: int | None = None
    inodes: int | None = None


NO_LIMIT = Size()


class Tree(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tree, as records keep it. `lower` are the read-only directories or frozen trees below it, the uppermost first:
    absolute paths of an image's layers, and names of trees of the same pool for drivers that stack (overlay). Drivers
    that do not stack have copied the image, and keep nothing there. `is_frozen` where nobody may write to it again."""

    pool: str
    name: str
    lower: tuple[str, ...] = ()
    is_frozen: bool = False


class RootLayers(msgspec.Struct, frozen=True):
    """The directories that make up a tree, as overlayfs understands them; absolute."""

    lower: tuple[str, ...]  # read-only, the uppermost first
    upper: str


class Used(msgspec.Struct, frozen=True):
    """What a tree takes of its pool for itself, and its limits; `inodes` None where the driver does not count them."""

    bytes: int
    inodes: int | None = None
    limit: Size = NO_LIMIT


class Split(msgspec.Struct, frozen=True):
    """What a snapshot makes of a writable tree: a frozen one with all that was there, and the one that goes on being
    written. A driver that stacks gives a new `present` over `frozen`; others give the same one back."""

    frozen: Tree
    present: Tree


class Space(msgspec.Struct, frozen=True):
    """A pool's space in bytes; None where nobody can tell."""

    total_bytes: int | None
    free_bytes: int | None


class Abilities(msgspec.Struct, frozen=True):
    """What a driver can do. `quota` and `inode_quota`: limit a tree, "" or why not, with which driver can;
    `is_instant`: clones and snapshots take no time that grows with the files; `shrinks`, `grows_live`: how a limit may
    change; `incremental`: `send` since a frozen tree; `stacks`: trees are put over others, frozen ones."""

    quota: str = ""
    inode_quota: str = ""
    is_instant: bool = True
    shrinks: bool = True
    grows_live: bool = True
    incremental: bool = False
    stacks: bool = False


class Driver(Protocol):
    """One pool. All methods that make a tree leave nothing behind where they fail, and raise NoSpace for a full disk,
    Unsupported for what the pool cannot, Host for what its programs say. Names of trees are chosen by the driver."""

    @property
    def abilities(self) -> Abilities: ...

    def prepare(self) -> None:
        """Make the pool's own directories, check that its programs and file system are there."""

    def destroy(self) -> None:
        """Take the pool away; the caller has seen to it that no record mentions a tree of it."""

    def space(self) -> Space: ...

    def create(self, layers: tuple[str, ...], size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """A writable tree over an image's layers (absolute directories, the uppermost first; none: an empty tree)."""

    def clone(self, frozen: Tree, size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """A writable tree that begins as `frozen`."""

    def snapshot(self, tree: Tree, *, is_live: bool = False, progress: Progress | None = None) -> Split:
        """Freeze what is in a writable tree. `is_live`: somebody has it mounted; he is frozen for the moment, and the
        file system has been synced; then `present` has to be `tree` itself."""

    def resize(self, tree: Tree, size: Size) -> None:
        """Change the limits of a writable tree, also while it is mounted where `grows_live`. Raises Invalid for less
        than is used."""

    def used(self, tree: Tree) -> Used: ...

    def root(self, tree: Tree) -> RootFiles:
        """What the start plan makes a root of, or mounts as a volume."""

    def directories(self, tree: Tree) -> AbstractContextManager[RootLayers]:
        """The directories that make up a tree, to look at single files and to write some while nobody else does."""

    def opened(self, tree: Tree) -> AbstractContextManager[int]:
        """A descriptor (O_PATH) of the whole tree's root directory, lower ones included, ids as on disk, seen by this
        process alone. Of a writable tree only while nobody else writes to it; a frozen one is read-only."""

    def changed(self, older: Tree, newer: Tree) -> Iterator[tuple[str, str]]:
        """What differs, as ("added" | "changed" | "removed", path)."""

    def send(self, frozen: Tree, since: Tree | None = None) -> Iterator[bytes]:
        """A frozen tree as a stream, without what an image's layers have; or only what changed since another."""

    def receive(
        self, chunks: Iterable[bytes], lower: tuple[str, ...] = (), since: Tree | None = None, size: Size = NO_LIMIT
    ) -> Tree:
        """The frozen tree that such a stream describes, over the same layers, or over `since`. `size` is the room that
        it needs, for drivers with a file system for each tree; others have no limit on a frozen one."""

    def names(self) -> tuple[str, ...]:
        """All trees that there are."""

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Take every tree that is neither mentioned nor below one that is out of the pool's names, at once; the names
        of those. The caller has the pool for himself: nobody is making a tree that no record mentions yet."""

    def sweep(self) -> None:
        """Delete for good what has been put away, which may take long; what is still mounted stays for another
        time. Others may be at work, and sweep as well."""
