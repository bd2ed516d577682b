"""The driver `lvm`: every tree is a thin volume with an ext4, mounted by the plan of the start.

The pool's place is a volume group and a thin pool in it, as GROUP/POOL. Volumes bear a tag that says what they are:

    cloison-<pool>        a tree
    cloison-trash         one that is being deleted

A snapshot of a thin volume shares its blocks, and takes no time that grows with the files.
Source: lvmthin(7), lvcreate(8), lvs(8).
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from cloison.base.disk import full_disk_named
from cloison.base.errors import Invalid, Unsupported, WrongState
from cloison.base.ids import new_id
from cloison.kernel import files, mounts, paths
from cloison.spec.driver import RootFiles
from cloison.storage import ext4
from cloison.storage.driver import Abilities, Progress, Size, Space, Tree, Used
from cloison.storage.plain import PlainDriver
from cloison.storage.programs import Programs

_TRASH = "cloison-trash"
_BYTES = ("--noheadings", "--units", "b", "--nosuffix", "--separator", ",")


class LvmDriver(PlainDriver):
    """The pool `pool`, in the thin pool `place` (GROUP/POOL)."""

    _HAS_DISKS = True

    def __init__(self, pool: str, place: str, *, default_bytes: int) -> None:
        super().__init__(pool, place)
        self._group, _, self._thin = place.partition("/")
        self._tag = f"cloison-{pool}"
        self._default_bytes = default_bytes
        self._lvm = Programs("lvm2", place)
        self._ext4 = Programs("e2fsprogs", place)

    @property
    def abilities(self) -> Abilities:
        return Abilities(incremental=True)

    def prepare(self) -> None:
        """Raises Unsupported without lvm2, Invalid for what is no thin pool."""
        self._lvm.require("lvcreate", "lvs")
        self._ext4.require("mkfs.ext4", "e2fsck", "resize2fs")
        if self._asked("segtype", f"{self._group}/{self._thin}") != ["thin-pool"]:
            raise Invalid(
                f"{self._path} is no thin pool",
                hint=f"lvcreate --type thin-pool --size 100G --name {self._thin or 'thin'} {self._group}",
            )

    def destroy(self) -> None:
        """Remove what the pool has in the thin pool, which stays."""
        self.put_away(())
        self.sweep()

    def space(self) -> Space:
        """That of the thin pool, whatever its volumes might grow to."""
        size, percent = self._asked("lv_size,data_percent", f"{self._group}/{self._thin}")[0].split(",")
        return Space(int(size), int(int(size) * (100 - float(percent)) / 100))

    def resize(self, tree: Tree, size: Size) -> None:
        """Grow it, also while it is mounted; shrink it while it is not. Raises WrongState, Invalid, Unsupported."""
        self._expect(tree)
        if size.inodes is not None:
            raise Unsupported(f"limits.inodes={size.inodes} cannot be: {ext4.NO_INODES}")
        wanted = ext4.rounded(self._default_bytes if size.bytes is None else size.bytes)
        volume, present = self._volume(tree.name), int(self._asked("lv_size", self._volume(tree.name))[0])
        if wanted > present:
            self._lvm.run("lvextend", "--size", f"{wanted}b", volume)
            if not self._is_open(volume):
                ext4.check(self._ext4, self._device(tree.name))
            ext4.grow(self._ext4, self._device(tree.name))
        elif wanted < present:
            if self._is_open(volume):
                raise WrongState(f"the disk of {tree.name} cannot be made smaller while it runs", hint="stop it first")
            ext4.shrink(self._ext4, self._device(tree.name), wanted)
            self._lvm.run("lvreduce", "--yes", "--size", f"{wanted}b", volume)

    def used(self, tree: Tree) -> Used:
        """What the volume has of the thin pool, what it shares included, and how large it is."""
        size, percent = self._asked("lv_size,data_percent", self._volume(tree.name))[0].split(",")
        return Used(int(int(size) * float(percent or 0) / 100), limit=Size(int(size)))

    def root(self, tree: Tree) -> RootFiles:
        """A block device to be mounted."""
        return RootFiles((), "", image=self._device(tree.name))

    @contextlib.contextmanager
    def opened(self, tree: Tree) -> Iterator[int]:
        """The mount itself."""
        self._expect(tree)
        with self._reached(tree.name, is_read_only=tree.is_frozen) as path, paths.held(path) as fd:
            yield fd

    def names(self) -> tuple[str, ...]:
        """All trees that there are."""
        return tuple(sorted(self._asked("lv_name", f"@{self._tag}")))

    def put_away(self, mentioned: Iterable[Tree]) -> tuple[str, ...]:
        """Give another tag to what nobody mentions."""
        kept = {tree.name for tree in mentioned}
        gone = tuple(name for name in self.names() if name not in kept)
        for name in gone:
            self._lvm.run("lvchange", "--deltag", self._tag, "--addtag", _TRASH, self._volume(name))
        return gone

    def sweep(self) -> None:
        """Remove the volumes with that tag; one that is mounted stays for another time."""
        for name in self._asked("lv_name", f"@{_TRASH}"):
            if not self._is_open(self._volume(name)):
                self._remove(name)

    # --- within --------------------------------------------------------------------------------------------

    def _volume(self, name: str) -> str:
        return f"{self._group}/{name}"

    def _device(self, name: str) -> str:
        return f"/dev/{self._group}/{name}"

    def _asked(self, fields: str, what: str) -> list[str]:
        """What lvs says of volumes, or of those with a tag in the group."""
        selected = [what]
        if what.startswith("@"):
            selected = ["--select", f"vg_name={self._group} && lv_tags={{{what[1:]}}}"]
        said = self._lvm.run("lvs", *_BYTES, "--options", fields, *selected)
        return [line.strip() for line in said.splitlines() if line.strip()]

    def _is_open(self, volume: str) -> bool:
        return self._asked("lv_device_open", volume) == ["open"]

    def _empty(self, size: Size) -> str:
        name = new_id()
        length = ext4.rounded(self._default_bytes if size.bytes is None else size.bytes)
        made = ("--type", "thin", "--virtualsize", f"{length}b", "--thinpool", self._thin)
        self._lvm.run("lvcreate", *made, "--name", name, "--addtag", self._tag, self._group)
        with self._made(name):
            ext4.make(self._ext4, self._device(name), inodes=size.inodes)
            with self._reached(name, is_read_only=False) as path:
                os.rmdir(f"{path}/lost+found")
        return name

    def _copy(self, tree: Tree, size: Size | None, progress: Progress | None, *, is_frozen: bool) -> str:
        """A snapshot, active as other volumes are (lvmthin(7): `--setactivationskip`)."""
        name = new_id()
        how = ("--snapshot", "--setactivationskip", "n", "--name", name, "--addtag", self._tag)
        self._lvm.run("lvcreate", *how, self._volume(tree.name))
        with self._made(name):
            ext4.replay(self._ext4, self._device(name))
            if size is not None and size.bytes is not None:
                self.resize(Tree(self._pool, name), Size(size.bytes))
        return name

    @contextlib.contextmanager
    def _reached(self, name: str, *, is_read_only: bool) -> Iterator[str]:
        """A mount that is attached nowhere, by the path of its descriptor."""
        with full_disk_named(self._path):
            fd = mounts.device("ext4", self._device(name), is_read_only=is_read_only)
            try:
                yield f"/proc/self/fd/{fd}/."
                if not is_read_only:
                    files.settle(fd)
            finally:
                os.close(fd)

    def _remove(self, name: str) -> None:
        self._lvm.run("lvremove", "--yes", self._volume(name))
