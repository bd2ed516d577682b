"""How a layer looked, compressed, in registries where it has been seen: what makes a push of it a question.

    layers/<hex>.blobs     JSON: a Known per blob, beside the layer, gone with it

It is a memory, not a truth: a registry is always asked whether it still has the blob.
"""

import contextlib

import msgspec

from cloison.images.files import write_beside
from cloison.images.layout import hex_of

_MOST = 16  # blobs that are remembered of one layer


class Known(msgspec.Struct, frozen=True):
    """A blob that unpacks to a layer, and a repository that had it; both are empty for files of simplestreams."""

    digest: str
    size: int
    compression: str  # "", "gzip", "zstd"
    host: str
    repository: str


def recall(layers_dir: str, diff_id: str) -> tuple[Known, ...]:
    """The blobs that are known of a layer, the latest first."""
    try:
        with open(_path(layers_dir, diff_id), "rb") as file:
            return msgspec.json.decode(file.read(), type=tuple[Known, ...])
    except (FileNotFoundError, msgspec.MsgspecError):
        return ()


def remember(layers_dir: str, diff_id: str, known: Known) -> None:
    """Remember a blob of a layer of the store. Where that cannot be written down, it is forgotten: all that is lost is
    that a push asks less cleverly."""
    before = recall(layers_dir, diff_id)
    if known not in before[:1]:
        others = tuple(other for other in before if other != known)
        with contextlib.suppress(OSError):
            write_beside(_path(layers_dir, diff_id), msgspec.json.encode((known, *others)[:_MOST]))


def _path(layers_dir: str, diff_id: str) -> str:
    return f"{layers_dir}/{hex_of(diff_id)}.blobs"
