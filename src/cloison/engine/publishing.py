"""An image of what an instance is, or was in a snapshot.

It has one layer, with all that the instance sees: contents are shared where the pool and the image store are on one
file system that can. The machine id is left out, so that each instance of it gets its own.
"""

import os
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Exists, WrongState
from cloison.engine import records, snapshots
from cloison.engine import snapshot_records as stored
from cloison.engine.identity import MACHINE_ID
from cloison.engine.records import Record, tree_of
from cloison.images.image import Facts, Image
from cloison.spec.driver import State
from cloison.storage.driver import Driver, Progress, Tree

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance


def publish(
    engine: "Engine",
    instance: "Instance",
    name: str,
    *,
    snapshot: str = "",
    force: bool = False,
    description: str = "",
    progress: Progress | None = None,
) -> Image:
    """Make the image `name`. One that runs only with `force`: it is held still for a moment. Raises Exists for a name
    that is taken, Invalid, NotFound, NoSpace, WrongState; then there is no image."""
    from cloison.images.changes import check_name

    check_name(name)
    known = engine.images.known(name)
    if known is not None:
        raise Exists(f"there is an image {name!r} already", hint="choose another name, or remove that one", name=name)
    instance.reload()
    pool = tree_of(instance.record).pool
    with engine.pools.making(pool) as driver:
        of, tree = _frozen(engine, instance, driver, snapshot, force=force)
        image = _made(engine, driver, of, tree, name, description, progress)
    engine.pools.collect(pool)
    engine.store.record(instance.id, "published", name)
    return image


def _frozen(
    engine: "Engine", instance: "Instance", driver: Driver, snapshot: str, *, force: bool
) -> tuple[Record, Tree]:
    if snapshot:
        found = stored.load(engine.store, instance.record, snapshot)
        return found.of, found.tree
    with instance.command("publish"):
        state = instance.state
        if state not in (State.STOPPED, State.STUCK) and not force:
            raise WrongState(
                f"{instance.name!r} cannot be published: it is {state}",
                hint="stop it first, publish a snapshot of it, or use --force, which holds it still for a moment",
                state=str(state),
            )
        split, _observed = snapshots.split_off(engine, instance, driver, None)
        record = instance.record
        if split.present != record.tree:
            with engine.store.transaction(is_durable=True) as changes:
                records.save(changes, msgspec.structs.replace(record, tree=split.present))
            instance.reload()
    return record, split.frozen


def _made(
    engine: "Engine",
    driver: Driver,
    of: Record,
    tree: Tree,
    name: str,
    description: str,
    progress: Progress | None,
) -> Image:
    from cloison.images import layers, layout
    from cloison.storage import copying

    with full_disk_named(engine.images.root, what="images"), engine.images.incoming() as work:
        place = f"{work.path}/new/published"
        os.mkdir(place, 0o755)
        with driver.directories(tree) as found:
            copying.copy((found.upper, *found.lower), place, progress=progress)
        _empty(place, MACHINE_ID)
        layer = layers.measure(place, lambda done: progress("measure", done, None) if progress else None)
        facts = _facts(engine, of, name, description, place)
        work.adopt(place, layer)
        return work.finish(msgspec.json.encode(layout.config_of(facts, (layer,))), facts, (layer,))


def _facts(engine: "Engine", of: Record, name: str, description: str, place: str) -> Facts:
    """What the image says of itself: what the instance's image did, as far as the instance still is that."""
    from cloison.images.architecture import host_architecture
    from cloison.images.system import look

    system = look((place,))
    base = engine.images.known(of.image)
    return Facts(
        names=(name,),
        os=system.os or (base.os if base else ""),
        release=system.release or (base.release if base else ""),
        architecture=system.architecture or (base.architecture if base else host_architecture()),
        command=of.config.init.command or of.command,
        env=of.env,
        stop_signal=of.config.boot.stop_signal or of.stop_signal,
        template="",
        is_system=of.is_system,
        user=base.user if base else "",
        workdir=base.workdir if base else "",
        ports=base.ports if base else (),
        volumes=base.volumes if base else (),
        labels=base.labels if base else {},
        source=f"published from {of.name}",
        variant=base.variant if base else "",
        properties={"description": description} if description else {},
        templates=base.templates if base else (),
    )


def _empty(root: str, path: str) -> None:
    """Leave nothing in a file; what is no file stays as it is."""
    from cloison.storage import offline
    from cloison.storage.driver import RootLayers

    layers = RootLayers((), root)
    if offline.look(layers, path).kind is offline.Kind.FILE:
        offline.write(layers, path, b"")
