"""An exported instance that comes in: a new one, or what has changed of one that came earlier. See `transfer`.

An image that comes with it is in the image store before there is an instance of it. Until then it has a property that
says for which one it came; who repairs what died halfway removes it, where that instance has never been.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import CloisonError, Exists, NotFound, WrongState
from cloison.base.ids import check_name, new_id
from cloison.engine import claims, disk_limits, identity, records, setting
from cloison.engine import snapshot_records as stored
from cloison.engine.records import Record, tree_of
from cloison.engine.snapshot_records import SnapshotRecord
from cloison.engine.transfer import Head, ImageHead
from cloison.engine.transfer_stream import Reader, Section, damaged
from cloison.images.image import Image
from cloison.spec import config as configuration
from cloison.spec.config import Config
from cloison.storage.driver import Driver, Size, Tree
from cloison.storage.settling import settle

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance
    from cloison.images.incoming import Incoming
    from cloison.images.layout import Layer

LONGEST_HEAD = 64 << 20
ARRIVING = "cloison.arriving"  # a property of an image: the id of the instance for which it came


def imported(
    engine: "Engine",
    chunks: Iterable[bytes],
    name: str,
    *,
    config: tuple[str, ...] = (),
    storage: str = "",
    force: bool = False,
) -> Record:
    """Make an instance of a stream, or have one be what has become of it since an earlier one; its record.

    Raises Invalid for what is damaged or no such stream, Exists for a name that is taken, NotFound for an image or a
    snapshot that the stream builds upon; and what a creation raises. Then nothing is left of it."""
    if name:
        check_name(name)
    engine.pools.get(storage or records.DEFAULT_POOL)
    reader = Reader(chunks)
    sections = reader.sections()
    head = _head(next(sections, None))
    wanted = name or check_name(head.of.name)
    if head.since:
        return _updated(engine, sections, head, engine.get(wanted), force=force)
    engine.expect_free(wanted)
    draft = msgspec.structs.replace(
        stored.bare(head.of),
        id=new_id(),
        name=wanted,
        created_ns=time.time_ns(),
        id_base=0,
        config=configuration.assign_all(head.of.config, config),
    )
    setting.check(engine, draft, draft.config, before=Config())
    return _created(engine, sections, head, draft, storage or records.DEFAULT_POOL)


def _head(section: Section | None) -> Head:
    if section is None or section.kind != "instance":
        raise damaged("it does not begin with an instance")
    text = bytearray()
    for chunk in section.chunks:
        text += chunk
        if len(text) > LONGEST_HEAD:
            raise damaged("what it says of the instance is too long")
    try:
        head = msgspec.json.decode(bytes(text), type=Head)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise damaged(f"what it says of the instance makes no sense: {problem}") from problem
    for each in head.snapshots:
        stored.check_name(each.name)
    kept = (msgspec.structs.replace(each, of=_possible(each.of)) for each in head.snapshots)
    return msgspec.structs.replace(head, of=_possible(head.of), snapshots=tuple(kept))


def _possible(record: Record) -> Record:
    """The record, whose configuration has been read as if somebody had typed it. Raises Invalid."""
    words = (f"{key}={text}" for key, text in configuration.items(record.config))
    return msgspec.structs.replace(stored.bare(record), config=configuration.assign_all(Config(), words))


def _created(engine: "Engine", sections: Iterator[Section], head: Head, draft: Record, pool: str) -> Record:
    directory = engine.layout.instance(draft.id)
    with full_disk_named(engine.layout.data), engine.driver.command(draft.id, "import"):
        try:
            os.mkdir(directory, 0o700)
            with _images(engine, head, draft.id) as images, engine.pools.making(pool) as driver:
                legs = _Legs(driver, images, head, {}, disk_limits.size_of(draft.config))
                for section in sections:
                    legs.take(section) if section.kind == "tree" else images.take(section)
                draft = _with_tree(legs, head, draft, driver.clone(legs.present(), disk_limits.size_of(draft.config)))
                texts = identity.written(engine, draft, head.texts)
                with engine.store.transaction(is_durable=True) as changes:
                    made = claims.claim(changes, engine.layout.root, draft)
                    identity.keep(changes, made, texts)
                    for each in legs.snapshots():
                        stored.put(changes, made.id, each)
                    changes.record(made.id, "created", f"{made.name} imported")
                images.keep()
        except BaseException:
            from cloison.storage import trees

            trees.remove(directory)
            engine.driver.forget(draft.id)
            raise
    engine.pools.collect(pool)
    if made.config.nics:
        engine.names_changed({made.name})
    return made


def _with_tree(legs: "_Legs", head: Head, draft: Record, tree: Tree) -> Record:
    image = legs.image_of(head.of)
    return msgspec.structs.replace(
        draft, tree=tree, layers=image.layers if image else (), image=image.digest if image else draft.image
    )


def _updated(engine: "Engine", sections: Iterator[Section], head: Head, instance: "Instance", *, force: bool) -> Record:
    """What has changed since a snapshot, put upon the instance that has it."""
    with instance.command("import"), full_disk_named(engine.layout.data):
        instance.expect_stopped("be changed by an import", hint="stop it first")
        before = instance.adopted()
        mine = stored.load_all(engine.store, before.id)
        base = next((each for each in mine if each.uid == head.since), None)
        if base is None:
            raise NotFound(
                f"{before.name!r} has not the snapshot {head.since_name!r}, since which the export tells what changed",
                hint="import one that begins earlier, or all of it under another name",
                name=head.since_name,
            )
        taken = {each.name for each in mine}.intersection(each.name for each in head.snapshots)
        if taken:
            raise Exists(
                f"{before.name!r} has a snapshot {sorted(taken)[0]!r} already",
                hint="export since that one, or delete it here",
            )
        if before.started_ns and not force:
            raise WrongState(
                f"{before.name!r} has been started here since it came, and what it has changed would be lost",
                hint="use --force, or import all of it under another name",
            )
        with _images(engine, head, before.id) as images, engine.pools.making(base.tree.pool) as driver:
            size = disk_limits.size_of(head.of.config)
            legs = _Legs(driver, images, head, {head.since: base.tree}, size)
            for section in sections:
                legs.take(section) if section.kind == "tree" else images.take(section)
            after = msgspec.structs.replace(
                before,
                tree=driver.clone(legs.present(), size),
                config=head.of.config,
                is_restored=False,
            )
            setting.check(engine, before, after.config, before=before.config)
            texts = identity.written(engine, after, identity.remembered(engine, before) | head.texts)
            with engine.store.transaction(is_durable=True) as changes:
                after = claims.settled(changes, before, after)
                for each in legs.snapshots():
                    stored.add(changes, before, each)
                records.save(changes, after)
                identity.keep(changes, after, texts)
                changes.record(before.id, "imported", f"since {head.since_name}")
            images.keep()
        setting.leave_ground(engine, before, after)
        instance.reload()
    engine.pools.collect(tree_of(after).pool)
    return after


class _Legs:
    """The trees of a stream, as far as they have come in; `known` are those of snapshots that were there before, `size`
    is what the instance is to have."""

    def __init__(self, driver: Driver, images: "_Images", head: Head, known: dict[str, Tree], size: Size) -> None:
        self._driver = driver
        self._images = images
        self._head = head
        self._known = known
        self._done: dict[str, Tree] = {}
        self._rooms = {each.uid: disk_limits.room_of(each.of.config, size) for each in head.snapshots} | {"": size}
        self._wanted = list(self._rooms)

    def take(self, section: Section) -> None:
        """Receive the next one. Raises Invalid for one that does not follow."""
        of, since = section.about.get("of", ""), section.about.get("since", "")
        if len(self._done) == len(self._wanted) or of != self._wanted[len(self._done)]:
            raise damaged("it has other files than it says")
        below = (self._known | self._done).get(since) if since else None
        if since and below is None:
            raise damaged("it has changes of files that did not come before them")
        self._done[of] = self._driver.receive(section.chunks, self._images.layers(), below, self._rooms[of])

    def present(self) -> Tree:
        """The present state. Raises Invalid where it has not come."""
        if len(self._done) != len(self._wanted):
            raise damaged("files of it are missing")
        settle(self._driver, self._done[""])
        return self._done[""]

    def snapshots(self) -> tuple[SnapshotRecord, ...]:
        """The snapshots, with their trees."""
        return tuple(
            msgspec.structs.replace(each, tree=self._done[each.uid], of=self._here(each.of))
            for each in self._head.snapshots
        )

    def image_of(self, record: Record) -> Image | None:
        """The image of it, as it is called here; None for one that is not here."""
        return self._images.here(record.image)

    def _here(self, record: Record) -> Record:
        image = self.image_of(record)
        return msgspec.structs.replace(
            record, layers=image.layers if image else (), image=image.digest if image else record.image
        )


class _Images:
    """The images that a stream's files are over: those of the store, or taken from the stream into it."""

    def __init__(self, engine: "Engine", head: Head, instance_id: str, held: contextlib.ExitStack) -> None:
        self._engine = engine
        self._instance_id = instance_id
        self._heads = {each.digest: each for each in head.images}
        self._held = held
        self._found: dict[str, Image] = {}
        self._made: list[Image] = []
        self._work: Incoming | None = None
        self._config = b""
        self._of: ImageHead | None = None
        self._layers: list[Layer] = []
        for each in head.images:
            known = self._known(each)
            if known is not None:
                self._found[each.digest] = known
            elif not each.is_included:
                raise NotFound(
                    f"the export needs the image {(*each.facts.names, each.digest)[0]}, which is not here",
                    hint="get it here first, or export the instance with its image",
                    digest=each.digest,
                )

    def take(self, section: Section) -> None:
        """Take an image's config, or a layer of it."""
        if section.kind == "image":
            self._of = self._heads.get(section.about.get("digest", ""))
            self._config = b"".join(section.chunks)
            self._layers = []
            if self._of is None or not self._config:
                raise damaged("it has an image of which it says nothing")
        elif section.kind == "layer" and self._of is not None:
            if self._of.digest not in self._found:
                self._take_layer(self._of, section)
        else:
            raise damaged(f"it has a section {section.kind!r}, of which nothing is known")

    def layers(self) -> tuple[str, ...]:
        """The directories that the first tree is over."""
        if len(self._found) != len(self._heads):
            raise damaged("its image is missing")
        return next(iter(self._found.values())).layers if self._found else ()

    def here(self, digest: str) -> Image | None:
        """An image of the stream, or one of the store."""
        return self._found.get(digest) or self._engine.images.known(digest)

    def keep(self) -> None:
        """The images belong to an instance now, those too that another import has left, which was killed."""
        self._made.clear()
        for image in self._found.values():
            if ARRIVING in image.properties:
                self._engine.images.forget_property(image.digest, ARRIVING)

    def forget(self) -> None:
        """Remove what was taken, as there is no instance of it."""
        for image in self._made:
            with contextlib.suppress(CloisonError):
                self._engine.remove_image(image.digest)

    def _known(self, head: ImageHead) -> Image | None:
        return next((each for each in self._engine.images.images() if each.id == head.id and each.id), None)

    def _take_layer(self, of: ImageHead, section: Section) -> None:
        if self._work is None:
            self._work = self._held.enter_context(self._engine.images.incoming())
        diff_id = section.about.get("diff_id", "")
        if len(self._layers) >= len(of.layers) or diff_id != of.layers[len(self._layers)]:
            raise damaged("its image has other layers than it says")
        known = self._work.layer_of(diff_id)
        self._layers.append(known or self._work.unpack(section.chunks, diff_id=diff_id))
        if len(self._layers) == len(of.layers):
            free = tuple(name for name in of.facts.names if self._engine.images.known(name) is None)
            properties = of.facts.properties | {ARRIVING: self._instance_id}
            facts = msgspec.structs.replace(of.facts, names=free, properties=properties)
            made = self._work.finish(self._config, facts, tuple(self._layers))
            if made.id != of.id:
                raise damaged("its image is another than it says")
            self._made.append(made)
            self._found[of.digest] = made


@contextlib.contextmanager
def _images(engine: "Engine", head: Head, instance_id: str) -> Iterator[_Images]:
    """The images of a stream; those that were taken and not kept are removed at the end."""
    images: _Images | None = None
    try:
        with contextlib.ExitStack() as held:
            images = _Images(engine, head, instance_id, held)
            yield images
    finally:
        if images is not None:
            images.forget()


def left_by(engine: "Engine", instance_id: str) -> tuple[Image, ...]:
    """The images that came for an instance that has never been. Only by who has its lock."""
    if engine.store.events(instance_id):
        return ()
    return tuple(each for each in engine.images.images() if each.properties.get(ARRIVING) == instance_id)
