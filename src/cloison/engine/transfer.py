"""An instance as one stream: on its way to another machine, another pool, or a file.

    instance   the document `Head`: configuration, snapshots, which images they need
    image      about: id, names of its layers; the image's config document
    layer      about: diff_id; its tar stream. All of an image, after it, the lowest first
    tree       about: of, since (ids of snapshots, "" for the present state); as `storage.stream` has it

The trees are in the order of the snapshots, the present state last; each is what has changed since the one before it,
where the driver can tell. With `since` the stream begins at a snapshot that the other side has from an earlier one.

Nothing of an import counts before its end: the trees are ones that no record mentions, and one transaction makes the
instance of them. Images come first; where an import is killed, the next attempt finds them, and repair removes them.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Host, NotFound, Unsupported
from cloison.engine import identity, records, snapshots
from cloison.engine import snapshot_records as stored
from cloison.engine.records import Record, tree_of
from cloison.engine.snapshot_records import SnapshotRecord
from cloison.engine.transfer_stream import Section, encoded
from cloison.images.image import Facts, Image
from cloison.storage.driver import Driver, Tree

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance


class ImageHead(msgspec.Struct, frozen=True):
    """An image that trees are over: `id` is the digest of its config document, `layers` the diff ids, the lowest
    first. `is_included`: it is in the stream."""

    digest: str
    id: str
    facts: Facts
    layers: tuple[str, ...]
    is_included: bool


class Head(msgspec.Struct, frozen=True):
    """What the stream is of. `since` is the id of the snapshot that it begins at, "" for all of it."""

    of: Record
    texts: dict[str, str]
    snapshots: tuple[SnapshotRecord, ...]
    images: tuple[ImageHead, ...]
    since: str = ""
    since_name: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """What of an instance is to be sent."""

    since: str = ""
    has_snapshots: bool = True
    has_image: bool = True
    compression: str = "zstd"


class _Leg(msgspec.Struct, frozen=True):
    """A tree on its way, and the one that the other side has by then."""

    of: str
    tree: Tree
    since: Tree | None
    since_id: str


@contextlib.contextmanager
def exported(engine: "Engine", instance: "Instance", wanted: Wanted) -> Iterator[Iterator[bytes]]:
    """The stream of an instance, as long as the block; one that runs is held still for the moment in which its state is
    taken. Raises NotFound for a snapshot, Unsupported where a pool cannot send what has changed since one."""
    pool = tree_of(instance.record).pool
    with engine.pools.making(pool) as driver:
        with instance.command("export"):
            record = instance.record
            since = stored.load(engine.store, record, wanted.since) if wanted.since else None
            _expect_able(driver, pool, since)
            split, _observed = snapshots.split_off(engine, instance, driver, None)
            record = instance.record
            if split.present != record.tree:
                with engine.store.transaction(is_durable=True) as changes:
                    records.save(changes, msgspec.structs.replace(record, tree=split.present))
            known = _to_send(engine, record, since) if wanted.has_snapshots else ()
            texts = identity.remembered(engine, record)
            instance.reload()
        legs = _legs(driver, known, split.frozen, since)
        images = () if since else _images(engine, record, known, legs[0], is_included=wanted.has_image)
        head = Head(
            stored.bare(record),
            texts,
            tuple(msgspec.structs.replace(each, tree=Tree("", "")) for each in known),
            images,
            since.uid if since else "",
            since.name if since else "",
        )
        yield encoded(_sections(engine, driver, head, legs), compression=wanted.compression)
    engine.pools.collect(pool)


def _expect_able(driver: Driver, pool: str, since: SnapshotRecord | None) -> None:
    if since is not None and not driver.abilities.incremental:
        raise Unsupported(
            f"the storage pool {pool} cannot send what has changed since a snapshot", hint="export all of it"
        )


def _to_send(engine: "Engine", record: Record, since: SnapshotRecord | None) -> tuple[SnapshotRecord, ...]:
    found = tuple(each for each in stored.load_all(engine.store, record.id) if not each.is_passing)
    if since is None:
        return found
    return found[[each.uid for each in found].index(since.uid) + 1 :] if since in found else ()


def _legs(
    driver: Driver, known: tuple[SnapshotRecord, ...], present: Tree, since: SnapshotRecord | None
) -> tuple[_Leg, ...]:
    before: tuple[Tree | None, str] = (since.tree, since.uid) if since else (None, "")
    found = []
    for uid, tree in (*((each.uid, each.tree) for each in known), ("", present)):
        found.append(_Leg(uid, tree, *before))
        if driver.abilities.incremental:
            before = (tree, uid)
    return tuple(found)


def _images(
    engine: "Engine", record: Record, known: tuple[SnapshotRecord, ...], first: _Leg, *, is_included: bool
) -> tuple[ImageHead, ...]:
    """The image that the first tree is over, and with it all that follow; none where it has copied its image."""
    needed = tuple(path for path in first.tree.lower if path[0] == "/")
    if not needed:
        return ()
    of = next((each.of for each in known if each.uid == first.of), record)
    image = engine.images.known(of.image)
    if image is None or image.layers != needed:
        raise NotFound(f"the image of {record.name!r}, {of.image_name}, is missing", hint="cloison image verify")
    facts = msgspec.convert(msgspec.structs.asdict(image), Facts, from_attributes=True)
    layers = tuple(layer.diff_id for layer in engine.images.layers_of(image))
    return (ImageHead(image.digest, image.id, facts, layers, is_included),)


def _sections(engine: "Engine", driver: Driver, head: Head, legs: tuple[_Leg, ...]) -> Iterator[Section]:
    yield Section("instance", {}, (msgspec.json.encode(head),))
    for each in head.images:
        if not each.is_included:
            continue
        image = engine.images.find(each.digest)
        yield Section("image", {"digest": each.digest}, (engine.images.config_of(image),))
        for diff_id in each.layers:
            yield Section("layer", {"diff_id": diff_id}, _layer(engine, image, diff_id))
    for leg in legs:
        yield Section("tree", {"of": leg.of, "since": leg.since_id}, driver.send(leg.tree, leg.since))


def _layer(engine: "Engine", image: Image, diff_id: str) -> Iterable[bytes]:
    digest = hashlib.sha256()
    for chunk in engine.images.stream(diff_id):
        digest.update(chunk)
        yield chunk
    if f"sha256:{digest.hexdigest()}" != diff_id:
        raise Host(
            f"a layer of the image {(*image.names, image.digest)[0]} is damaged",
            hint="cloison image verify says what; --without-image leaves it out, where the other side has it",
            diff_id=diff_id,
        )
