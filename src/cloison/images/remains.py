"""What a download that was broken off has brought, for the next one: finished layers, and the beginnings of blobs.

    tmp/<random>/boot           the boot of the host in which all of this was written
    tmp/<random>/layers/<hex>/, <hex>.skeleton, <hex>.kept/    layers, as in the store
    tmp/<random>/whole/<hex>    JSON: a Layer that is there, and was held against its digests
    tmp/<random>/parts/<hex>    the first bytes of a blob, under the blob's digest

A download that may be taken up again works in such a directory (see `incoming`): it is left over when that is killed,
and left behind when it fails. Nothing of it counts. It is rubbish as any other workspace without a lock, and
`ImageStore.clean` removes it; until then, who needs the same layers or blobs takes them over by renames, under the
store's lock. What is of no use after that goes into the workspace of who looked, and is removed with it:

    tmp/<random>/spent/<random>/     what was left, without what was taken over

Nothing here was brought to the disk. What the kernel was told it keeps as long as it runs, whoever is killed; so what
is left of another boot is of no use, and is for `clean`. A part is not verified before the rest has come: then all of
it is held against the blob's digest.
"""

import contextlib
import errno
import os
from collections.abc import Collection, Iterator

import msgspec

from cloison.images.layout import Layer, hex_of
from cloison.images.workspace import AWAY, rubbish
from cloison.kernel.locks import exclusive
from cloison.kernel.probe import boot_id

_READ_BYTES = 1 << 20
_ROOM = 8  # times a blob's size has to be free for it to be written down: its files take some three times of it
_DIRECTORIES = ("layers", "parts", "whole")  # in the order in which they are left behind
_BESIDE = (".skeleton", ".kept")


class Part:
    """The beginning of a blob of `size` bytes, in the file `path`, which is written as it comes. Closed by `close`.

    On a disk that may become full of it nothing is added: an image has to fit where its files do."""

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._size = size
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        disk = os.fstatvfs(self._fd)
        self._has_room = disk.f_blocks == 0 or disk.f_bavail * disk.f_frsize >= _ROOM * size

    def before(self) -> Iterator[bytes]:
        """What there is from before; to be read to its end before anything is added."""
        if os.fstat(self._fd).st_size > self._size:  # of another blob, then
            os.ftruncate(self._fd, 0)
        while piece := os.read(self._fd, _READ_BYTES):
            yield piece

    def add(self, piece: bytes) -> None:
        """These bytes come next."""
        if self._fd < 0 or not self._has_room:
            return
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.drop()

    def drop(self) -> None:
        """Nobody needs it any more."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def close(self) -> None:
        """Leave it for the next one. Once is enough, twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def begin(path: str) -> None:
    """Make a workspace with its `layers` one of which remains are of use."""
    for name in ("parts", "whole"):
        os.mkdir(f"{path}/{name}")
    with open(f"{path}/boot", "w") as file:
        file.write(boot_id())


def note(path: str, layer: Layer) -> None:
    """Say that a layer in `layers` is whole. Whoever dies in between has written nothing that can be read."""
    with open(f"{path}/whole/{hex_of(layer.diff_id)}", "wb") as file:
        file.write(msgspec.json.encode(layer))


def leave(path: str, store_lock: str) -> None:
    """Leave behind what a workspace holds of use, which its owner is about to remove."""
    with contextlib.suppress(FileNotFoundError):
        if not _is_of_use(path):
            return
        with exclusive(store_lock, timeout_s=None):
            left = f"{os.path.dirname(path)}/{os.urandom(8).hex()}"
            os.mkdir(left, 0o700)
            for name in (*_DIRECTORIES, "boot"):  # without the last one, it is of no use
                os.rename(f"{path}/{name}", f"{left}/{name}")


def take_over(path: str, store_lock: str, diff_ids: Collection[str], blobs: Collection[str]) -> tuple[Layer, ...]:
    """Take into the workspace `path` what others have left of these layers and blobs; the layers that are there now."""
    with exclusive(store_lock, timeout_s=None):
        left = {place: _boot_of(place) for place in rubbish(os.path.dirname(path)) if not place.endswith(AWAY)}
        places = [place for place, boot in left.items() if boot == boot_id()]
        found = [layer for diff_id in diff_ids if (layer := _take_layer(places, path, hex_of(diff_id))) is not None]
        for name in map(hex_of, blobs):
            _take_part([f"{place}/parts/{name}" for place in places], f"{path}/parts/{name}")
        for place, boot in left.items():
            if boot and (place not in places or not _is_of_use(place)):
                os.makedirs(f"{path}/spent", exist_ok=True)
                os.rename(place, f"{path}/spent/{os.path.basename(place)}")
    return tuple(found)


def _boot_of(place: str) -> str:
    """In which boot somebody left something of use there; "" where nobody did."""
    try:
        with open(f"{place}/boot") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _is_of_use(place: str) -> bool:
    with contextlib.suppress(FileNotFoundError):  # somebody was about to leave it
        if os.listdir(f"{place}/whole"):
            return True
        return any(os.stat(f"{place}/parts/{name}").st_size for name in os.listdir(f"{place}/parts"))
    return False


def _take_layer(places: list[str], path: str, name: str) -> Layer | None:
    """Its mark goes first and comes last: whoever dies in between leaves no layer that is said to be whole."""
    for place in places:
        try:
            with open(f"{place}/whole/{name}", "rb") as file:
                layer = msgspec.json.decode(file.read(), type=Layer)
        except (FileNotFoundError, msgspec.MsgspecError):
            continue
        os.unlink(f"{place}/whole/{name}")
        for ending in (*_BESIDE, ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{place}/layers/{name}{ending}", f"{path}/layers/{name}{ending}")
        if os.path.isdir(f"{path}/layers/{name}"):
            note(path, layer)
            return layer
    return None


def _take_part(candidates: list[str], target: str) -> None:
    """The longest."""
    longest, size = "", 0
    for candidate in candidates:
        with contextlib.suppress(FileNotFoundError):
            if (found := os.stat(candidate).st_size) > size:
                longest, size = candidate, found
    if longest:
        os.rename(longest, target)
