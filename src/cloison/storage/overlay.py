"""The driver `overlay`: trees that stack. The default, on any file system that overlayfs takes.

    <pool>/trees/<name>/upper/   what is in this tree, and not in those below it
    <pool>/trees/<name>/work/    overlayfs's own: it writes a file here before it puts it into upper
    <pool>/empty/                what is below a tree that has nothing below it
    <pool>/trash/<random>        a tree that nobody mentions any more, and that is being deleted

A tree over an image's layers is two empty directories; so is a clone. What is below a tree is frozen, and is shared.
Mounting is a step of the plan; here are only the directories. Source: Documentation/filesystems/overlayfs.rst.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from cloison.base.disk import full_disk_named
from cloison.base.errors import NotFound
from cloison.base.ids import new_id
from cloison.spec.driver import RootFiles
from cloison.storage.driver import NO_LIMIT, Abilities, Progress, RootLayers, Size, Space, Split, Tree, Used

MOST_LAYERS = 48  # below a tree; each costs a start some time, and 255 bytes have to name all of them: fsconfig(2)


class OverlayDriver:
    """The pool `pool`, in the directory `path`."""

    def __init__(self, pool: str, path: str) -> None:
        self._pool = pool
        self._path = path
        self._trees = f"{path}/trees"
        self._trash = f"{path}/trash"

    @property
    def abilities(self) -> Abilities:
        from cloison.storage import quotas

        reason = quotas.why_not(self._pool, "overlay", self._path)
        return Abilities(quota=reason, inode_quota=reason, incremental=True, stacks=True)

    def prepare(self) -> None:
        """Make the pool's own directories."""
        with full_disk_named(self._path):
            for path in (self._path, self._trees, self._trash, f"{self._path}/empty"):
                os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(f"{self._path}/empty", 0o755)  # the root directory takes its mode from upper; this is for order

    def destroy(self) -> None:
        """Take the pool away; its directory stays where it was there before."""
        self.put_away(())
        self.sweep()
        for name in ("trees", "trash", "empty"):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(f"{self._path}/{name}")

    def space(self) -> Space:
        """That of the file system that it is on, as root sees it."""
        found = os.statvfs(self._path)
        return Space(found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize)

    # --- trees ---------------------------------------------------------------------------------------------

    def create(self, layers: tuple[str, ...], size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """Two empty directories: no time that grows with the layers. Raises NotFound where a layer is missing."""
        for layer in layers:
            if not os.path.isdir(layer):
                raise NotFound(f"{layer} is missing: the image has just been removed", hint="try again", path=layer)
        return self._made(layers, size)

    def clone(self, frozen: Tree, size: Size = NO_LIMIT, *, progress: Progress | None = None) -> Tree:
        """An empty tree over the frozen one."""
        self._expect(frozen)
        return self._made((frozen.name, *frozen.lower), size)

    def snapshot(self, tree: Tree, *, is_live: bool = False, progress: Progress | None = None) -> Split:
        """Of a stopped one: a new tree over the one that there is. Of a running one: a copy of what it has changed."""
        self._expect(tree)
        if is_live:
            return Split(self._copied(tree.lower, (f"{self.place(tree.name)}/upper",), progress), tree)
        if len(tree.lower) >= MOST_LAYERS:  # all of its own layers become one, every so often
            own = tuple(name for name in tree.lower if name[0] != "/")
            below = tree.lower[len(own) :]
            layers = tuple(f"{self.place(name)}/upper" for name in (tree.name, *own))
            frozen = self._copied(below, layers, progress)
        else:
            frozen = Tree(tree.pool, tree.name, tree.lower, is_frozen=True)
        return Split(frozen, self._made((frozen.name, *frozen.lower), NO_LIMIT, beside=tree))

    def _copied(self, lower: tuple[str, ...], layers: tuple[str, ...], progress: Progress | None) -> Tree:
        """A new frozen tree with what is in `layers`, over `lower`."""
        from cloison.storage import copying

        made = self._made(lower, NO_LIMIT)
        with self._whole(made):
            copying.copy(layers, f"{self.place(made.name)}/upper", is_part=True, progress=progress)
        return Tree(made.pool, made.name, made.lower, is_frozen=True)

    def resize(self, tree: Tree, size: Size) -> None:
        """Raises Unsupported where the file system has no project quotas."""
        self._expect(tree)
        self._limit(self.place(tree.name), size)

    def used(self, tree: Tree) -> Used:
        """Counted, file by file, unless the file system does it for a limit."""
        from cloison.storage import quotas, trees

        if not os.path.isdir(self.place(tree.name)):
            return Used(0)
        return quotas.used(self.place(tree.name)) or Used(trees.usage_bytes(self.place(tree.name)))

    def root(self, tree: Tree) -> RootFiles:
        """Layers below a directory. Pure: this is on the way of every start."""
        return RootFiles(self._lower(tree), f"{self._trees}/{tree.name}")

    @contextlib.contextmanager
    def directories(self, tree: Tree) -> Iterator[RootLayers]:
        """The directories themselves: nothing has to be mounted for it."""
        yield RootLayers(self._lower(tree), f"{self._trees}/{tree.name}/upper")

    @contextlib.contextmanager
    def opened(self, tree: Tree) -> Iterator[int]:
        """An overlay that is attached nowhere."""
        from cloison.kernel import mounts

        place = self.place(tree.name)
        self._expect(tree)
        below = [f"{place}/upper"] if tree.is_frozen else []
        with contextlib.ExitStack() as stack:

            def held(path: str) -> int:
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                return fd

            lower = tuple(held(path) for path in (*below, *self._lower(tree)))
            if tree.is_frozen:
                fd = mounts.overlay(lower)
            else:
                fd = mounts.overlay(lower, held(f"{place}/upper"), held(f"{place}/work"))
            stack.callback(os.close, fd)
            yield fd

    def changed(self, older: Tree, newer: Tree) -> Iterator[tuple[str, str]]:
        """What differs; of a directory that is gone, only itself is named."""
        from cloison.storage import scanning

        for what, item in scanning.delta(self._stack(older), self._stack(newer)):
            if what:
                yield what, f"/{item.path}"

    def send(self, frozen: Tree, since: Tree | None = None) -> Iterator[bytes]:
        """The layers of its own; or what leads from the other to it."""
        from cloison.storage import scanning, stream

        if since is not None:
            found = scanning.delta(self._stack(since), self._stack(frozen))
            return stream.encode(stream.Base.TREE, stream.only_changed(found))
        own = tuple(name for name in (frozen.name, *frozen.lower) if name[0] != "/")
        layers = tuple(f"{self.place(name)}/upper" for name in own)
        base = stream.Base.LAYERS if len(own) <= len(frozen.lower) else stream.Base.NOTHING
        return stream.encode(base, scanning.scan(layers, is_part=base is stream.Base.LAYERS))

    def receive(
        self, chunks: Iterable[bytes], lower: tuple[str, ...] = (), since: Tree | None = None, size: Size = NO_LIMIT
    ) -> Tree:
        """A tree over what the stream says that it is to be put upon; a frozen one has no limit."""
        from cloison.storage import stream, writing

        reader = stream.Reader(chunks)
        made = self._made(stream.expected_below(reader.base, lower, since), NO_LIMIT)
        with self._whole(made), writing.Writer(f"{self.place(made.name)}/upper", is_stacked=True) as writer:
            reader.into(writer)
        return Tree(made.pool, made.name, made.lower, is_frozen=True)

    def names(self) -> tuple[str, ...]:
        """All trees that there are."""
        try:
            return tuple(sorted(os.listdir(self._trees)))
        except FileNotFoundError:
            return ()

    def adopt(self, directory: str, name: str) -> None:
        """Make `upper` and `work` of a directory the tree `name`; whoever died on the way, the next one goes on."""
        place = self.place(name)
        os.makedirs(place, mode=0o700, exist_ok=True)
        for part in ("work", "upper"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{directory}/{part}", f"{place}/{part}")

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Rename to the trash what nobody mentions."""
        kept = {name for tree in mentioned for name in (tree.name, *tree.lower)}
        gone = tuple(name for name in self.names() if name not in kept)
        for name in gone:
            os.rename(self.place(name), f"{self._trash}/{new_id()}")
        return gone

    def sweep(self) -> None:
        """Delete what is in the trash."""
        from cloison.storage import trees

        trees.clean(self._trash, prefix="")

    # --- within --------------------------------------------------------------------------------------------

    def place(self, name: str) -> str:
        """The directory of a tree."""
        return f"{self._trees}/{name}"

    def _lower(self, tree: Tree) -> tuple[str, ...]:
        below = tuple(each if each[0] == "/" else f"{self._trees}/{each}/upper" for each in tree.lower)
        return below or (f"{self._path}/empty",)

    def _made(self, lower: tuple[str, ...], size: Size, *, beside: Tree | None = None) -> Tree:
        """A new tree, whose limits are those of the one `beside` it. Its root directory takes owner and mode from
        `upper`: root's, 0755, whatever the umask."""
        name = new_id()
        place = self.place(name)
        with full_disk_named(self._path):
            os.mkdir(place, 0o700)
            try:
                if size != NO_LIMIT:
                    self._limit(place, size)
                if beside is not None:
                    self._share(place, beside)
                for part, mode in (("upper", 0o755), ("work", 0o700)):
                    os.mkdir(f"{place}/{part}")
                    os.chmod(f"{place}/{part}", mode)
            except BaseException:
                from cloison.storage import trees

                trees.delete(place)
                raise
        return Tree(self._pool, name, lower)

    @contextlib.contextmanager
    def _whole(self, tree: Tree) -> Iterator[None]:
        """Nothing of a new tree is left where it cannot be made; a full disk is named."""
        try:
            with full_disk_named(self._path):
                yield
        except BaseException:
            from cloison.storage import trees

            trees.delete(self.place(tree.name))
            raise

    def _stack(self, tree: Tree) -> tuple[str, ...]:
        return (f"{self.place(tree.name)}/upper", *self._lower(tree))

    def _expect(self, tree: Tree) -> None:
        if not os.path.isdir(f"{self.place(tree.name)}/upper"):
            raise NotFound(f"the pool {self._pool} has no tree {tree.name}", path=self.place(tree.name))

    def _share(self, place: str, other: Tree) -> None:
        from cloison.storage import quotas

        quotas.share(place, self.place(other.name))

    def _limit(self, place: str, size: Size) -> None:
        from cloison.storage import quotas

        quotas.limit(self._pool, "overlay", place, size)
