"""What the compiler of plans is told besides the OCI specification. Pure values.

`storage` contributes the root file system, `runtime` the control groups of this host and the places of an
instance's own files; nothing in `plan` looks anything up.
"""

from binascii import crc32

import msgspec

_OWN_INDEXES = 1 << 30  # of interfaces: above all that the kernel gives out by itself


class OverlayRoot(msgspec.Struct, frozen=True):
    """A root file system of shared read-only layers and one writable directory.

    `lower` is top first. `writable` is a directory with the sub-directories `upper` and `work`."""

    lower: tuple[str, ...]
    writable: str


class DirectoryRoot(msgspec.Struct, frozen=True):
    """A root file system that is one directory of the host: an OCI bundle's, or a tree that does not stack."""

    path: str


class ImageRoot(msgspec.Struct, frozen=True):
    """A root file system in an ext4, `image` being a file or a block device; `mount` is the path of mount(8)."""

    image: str
    mount: str
    options: tuple[str, ...] = ()


RootSource = OverlayRoot | DirectoryRoot | ImageRoot


class CgroupPlace(msgspec.Struct, frozen=True):
    """Where an instance lives in one hierarchy.

    `outer` carries the limits and belongs to the host; `inner` is delegated to the instance, and is what its cgroup
    namespace shows as the top. All are absolute paths; `top` is the mount point, or a directory below it that whoever
    manages the hierarchy has left to cloison; `above` are then those on the way to it. `presets` are files with the
    values that each new directory of this hierarchy needs first (v1 cpuset), `enable` the v2 controllers to be handed
    down. `is_caller_elsewhere`: the caller sits below `top`, and a monitor would end with it; `keepers` is the
    directory where monitors sit, `top` itself where it is empty. `weight_file` is the file of block I/O weights that
    this kernel offers here, if any; only who asks for a weight looks for it."""

    version: int
    controllers: tuple[str, ...]
    top: str
    outer: str
    inner: str
    presets: tuple[tuple[str, str], ...] = ()
    enable: tuple[str, ...] = ()
    is_caller_elsewhere: bool = False
    keepers: str = ""
    above: tuple[str, ...] = ()
    weight_file: str = ""


class Places(msgspec.Struct, frozen=True):
    """The files of one start: all below the run directory but for log and record, which stay."""

    run_dir: str
    journal: str
    socket: str
    log: str
    log_size_bytes: int
    record: str


class HostLimits(msgspec.Struct, frozen=True):
    """What this host can give at all: the bounding set of the calling process, as a mask of capabilities(7).

    `parameters` are kernel parameters of an instance's own namespaces that only root of the host may write all the
    same: those of the IPC namespace, before Linux 6.9."""

    capabilities: int
    parameters: tuple[str, ...] = ()


class NetworkPlace(msgspec.Struct, frozen=True):
    """Where an instance's networks find what is theirs: its run directory, and nft(8), which only rules need.

    `is_late` is for an interface that comes after the start. It may have the number of one that went before, which the
    undo steps of the start still name, and do so first: so nothing that these touch may have its name."""

    run_dir: str
    nft: str = ""
    is_late: bool = False

    def hold(self, number: int) -> str:
        """The file at which the instance's network namespace is mounted on behalf of an interface."""
        return f"{self.run_dir}/{'late' if self.is_late else 'net'}{number}"

    @property
    def later(self) -> str:
        """The plan whose undo steps are those of the interfaces that came after the start."""
        return f"{self.run_dir}/later"

    def index(self, number: int) -> int:
        """An index that nobody else has on this host, but for one case in a thousand million."""
        return _OWN_INDEXES | crc32(f"{self.run_dir}/{number}".encode()) & (_OWN_INDEXES - 1)

    def queue_index(self, number: int) -> int:
        """The same for the queue of what an interface sends."""
        return _OWN_INDEXES | crc32(f"{self.run_dir}/{number}/queue".encode()) & (_OWN_INDEXES - 1)

    def lent_index(self, number: int) -> int:
        """The same for an interface that is lent after the start: it keeps it when it has come home, where the next
        interface of its number needs one, too."""
        return _OWN_INDEXES | crc32(f"{self.run_dir}/{number}/lent".encode()) & (_OWN_INDEXES - 1)

    def altname(self, number: int) -> str:
        """The name by which a lent interface is known wherever it is; at most 15 bytes, for ioctl(2)."""
        return f"cl-{self.run_dir.rsplit('/', 1)[-1][:8]}{'+' if self.is_late else '-'}{number}"
