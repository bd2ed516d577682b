"""The images of containers that the guest starts, as a disk: it has no network to build them with.

    images-<key>/disk.img    ext4 with an image store that has debian/12

The key is a hash of the code that builds images, so that a change of it is tested in the guest too.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Final

import cloison
from tools.vm import cache

NAMES: Final = ("debian/12",)
DISK_BYTES: Final = 1 << 30  # sparse


def obtain() -> Path:
    """The disk, built now where it is missing: as root, half a minute. Raises CloisonError, cache.Failed."""
    return cache.obtain(f"images-{key()}", _build) / "disk.img"


def key() -> str:
    """Sixteen hexadecimal digits: the same for each checkout with the same code of `cloison.images`."""
    top = Path(cloison.__file__).parent / "images"
    hashed = hashlib.sha256(" ".join(NAMES).encode())
    for path in sorted(top.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            hashed.update(str(path.relative_to(top)).encode())
            hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()[:16]


def _build(new: Path) -> None:
    root = new / "root"
    engine = cloison.open(str(root))
    for name in NAMES:
        engine.image(name)
    engine.store.close()
    cache.make_disk(root / "lib" / "images", new / "disk.img", "images", DISK_BYTES, "^has_journal", "nodiscard")
    shutil.rmtree(root)
