"""Taking back everything that died halfway, of the whole installation.

In this order: instances, builds of images, directories of instances that no record knows, networks, what networks and
nics have of the host, and files that nothing mentions any more.
"""

import contextlib
import os
from typing import TYPE_CHECKING

from cloison.base.errors import Busy, CloisonError, NotFound
from cloison.engine import arriving, grounds, recipes, records
from cloison.engine.instance import Instance
from cloison.engine.records import Record
from cloison.engine.results import Repaired
from cloison.storage import trees

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


def repair(engine: "Engine") -> tuple[Repaired, ...]:
    """What was taken back. Raises the first error of what cannot be repaired now, after all others have been."""
    known = records.load_all(engine.store)
    failed: list[CloisonError] = []
    done = _repair_instances(engine, known, failed)
    done += [Repaired("build of an image", name) for name in recipes.sweep(engine)]
    done += _repair_orphans(engine, {record.id for record in known})
    for what, find in (
        ("network without a record", engine.networks.repair),
        ("nobody's", lambda: grounds.sweep(engine)),
        ("what somebody had taken from", engine.restore_networks),
    ):
        try:
            done += [Repaired(what, name) for name in find()]
        except CloisonError as problem:
            failed.append(problem)
    done += [Repaired("deleted instance", name) for name in trees.clean(engine.layout.instances)]
    for pool in engine.pools.all():
        done += [Repaired("files that nothing mentions", name) for name in engine.pools.collect(pool.name)]
    done += [Repaired("image build", name) for name in engine.images.clean()]
    if failed:
        raise failed[0]
    return tuple(done)


def _repair_instances(engine: "Engine", known: tuple[Record, ...], failed: list[CloisonError]) -> list[Repaired]:
    """One that cannot be repaired now must not keep the others from it: its error is added to `failed`."""
    done = []
    for record in known:
        try:
            if Instance(engine, record).repair():
                done.append(Repaired("instance", record.name))
            if record.is_last_run and Instance(engine, record).end_if_over(timeout_s=0):
                done.append(Repaired("ephemeral instance", record.name))
        except NotFound:
            continue  # it has been deleted meanwhile
        except CloisonError as problem:
            failed.append(problem)
    return done


def _repair_orphans(engine: "Engine", known: set[str]) -> list[Repaired]:
    """Directories whose instance is in no record: a creation or a deletion that was cut off."""
    done = []
    layout = engine.layout
    seen = {*_names(layout.instances), *_names(layout.run), *_names(f"{layout.run}/locks")}
    for instance_id in sorted(seen - known - {"locks", "networks", "volumes"}):
        if instance_id.startswith("."):
            continue
        with contextlib.suppress(Busy), engine.driver.command(instance_id, "repair"):
            if engine.store.get(f"instances/{instance_id}") is not None:
                continue  # it has been created meanwhile
            if engine.driver.repair(instance_id):
                done.append(Repaired("run directory", instance_id))
            if os.path.isdir(layout.instance(instance_id)):
                done += [Repaired("image of a broken import", name) for name in _remove_images(engine, instance_id)]
                trees.remove(layout.instance(instance_id))
                done.append(Repaired("files without an instance", instance_id))
            engine.driver.forget(instance_id)
    return done


def _remove_images(engine: "Engine", instance_id: str) -> list[str]:
    """Images that came with an instance that has never been, unless something has been made of them since."""
    gone = []
    for image in arriving.left_by(engine, instance_id):
        with contextlib.suppress(Busy, NotFound):
            engine.remove_image(image.digest)
            gone.append((*image.names, image.digest)[0])
    return gone


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
