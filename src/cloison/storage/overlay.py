"""The writable layer of an instance, over the layers of its image.

    instances/<id>/upper/        what the instance has changed
    instances/<id>/work/         overlayfs's own: it writes a file here before it puts it into upper
    instances/.deleted-<random>  an instance that is being deleted, or whose deletion was interrupted

Mounting is a step of the plan; here are only the directories. Source: Documentation/filesystems/overlayfs.rst.
"""

import contextlib
import os

import msgspec

from cloison.base.errors import Busy, Exists
from cloison.storage import trees

_DELETED = ".deleted-"


class RootLayers(msgspec.Struct, frozen=True):
    """What overlayfs makes a root filesystem of; absolute directories."""

    lower: tuple[str, ...]  # read-only, the uppermost first
    upper: str
    work: str


def layers(image_layers: tuple[str, ...], instance_dir: str) -> RootLayers:
    """The root filesystem of an instance over its image's layers, of which the first is the uppermost. Pure."""
    return RootLayers(image_layers, f"{instance_dir}/upper", f"{instance_dir}/work")


def create(instance_dir: str) -> None:
    """Make the directories of an instance that has changed nothing yet. Raises Exists.

    The root directory of the instance takes owner and mode from `upper`: its root's, 0755, whatever the umask."""
    try:
        for name, mode in (("upper", 0o755), ("work", 0o700)):
            path = f"{instance_dir}/{name}"
            os.makedirs(path)
            os.chmod(path, mode)
    except FileExistsError as taken:
        raise Exists(f"there are files of an instance in {instance_dir} already", path=instance_dir) from taken


def remove(instance_dir: str) -> None:
    """Delete an instance's files, for good. An instance that has none is no error.

    It is gone under its name at once; an interrupted deletion is finished by `clean`. Raises Busy where something
    is still mounted below."""
    parent = os.path.dirname(os.path.abspath(instance_dir))
    doomed = f"{parent}/{_DELETED}{os.urandom(8).hex()}"
    try:
        os.rename(instance_dir, doomed)
    except FileNotFoundError:
        return
    trees.delete(doomed)


def clean(instances_dir: str) -> tuple[str, ...]:
    """Finish the deletions below `instances_dir` that were interrupted; the paths that are gone now."""
    gone = []
    for path in _deleted(instances_dir):
        with contextlib.suppress(Busy):  # still mounted: another time
            trees.delete(path)
            gone.append(path)
    return tuple(gone)


def _deleted(instances_dir: str) -> list[str]:
    try:
        return [f"{instances_dir}/{name}" for name in sorted(os.listdir(instances_dir)) if name.startswith(_DELETED)]
    except FileNotFoundError:
        return []


def usage_bytes(instance_dir: str) -> int:
    """The disk space that an instance has to itself, without its image; 0 for one without files."""
    return trees.usage_bytes(instance_dir)
