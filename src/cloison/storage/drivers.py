"""Which drivers there are. Each is imported when a pool of it is used."""

from collections.abc import Mapping

from cloison.base.errors import Invalid
from cloison.base.units import parse_size
from cloison.storage.driver import Driver

DEFAULT_BYTES = 10 << 30
NAMES = ("overlay", "dir", "btrfs", "loop", "lvm", "zfs")


def driver(kind: str, pool: str, path: str, options: Mapping[str, str]) -> Driver:
    """The driver `kind` for a pool in the directory `path`. Raises Invalid for one that there is not."""
    match kind:
        case "overlay":
            from cloison.storage.overlay import OverlayDriver

            return OverlayDriver(pool, path)
        case "dir":
            from cloison.storage.directory import DirectoryDriver

            return DirectoryDriver(pool, path)
        case "btrfs":
            from cloison.storage.btrfs import BtrfsDriver

            return BtrfsDriver(pool, path)
        case "loop":
            from cloison.storage.image_file import LoopDriver

            has_quotas = options.get("user_quotas") == "true"
            return LoopDriver(pool, path, default_bytes=_size(options), has_user_quotas=has_quotas)
        case "lvm":
            from cloison.storage.lvm import LvmDriver

            return LvmDriver(pool, path, default_bytes=_size(options))
        case "zfs":
            from cloison.storage.zfs import ZfsDriver

            return ZfsDriver(pool, path)
        case _:
            raise Invalid(f"there is no storage driver {kind!r}", hint=f"there is {', '.join(NAMES)}")


def _size(options: Mapping[str, str]) -> int:
    """What a tree gets that is given no limit."""
    return parse_size(options["size"], key="size") if "size" in options else DEFAULT_BYTES
