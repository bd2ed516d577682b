"""What the compiler of plans is told besides the OCI specification. Pure values.

`storage` contributes the root file system, `runtime` the control groups of this host and the places of an
instance's own files; nothing in `plan` looks anything up.
"""

import msgspec


class OverlayRoot(msgspec.Struct, frozen=True):
    """A root file system of shared read-only layers and one writable directory.

    `lower` is top first. `writable` is a directory with the sub-directories `upper` and `work`."""

    lower: tuple[str, ...]
    writable: str


class DirectoryRoot(msgspec.Struct, frozen=True):
    """A root file system that is one directory of the host (an OCI bundle's)."""

    path: str


RootSource = OverlayRoot | DirectoryRoot


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
