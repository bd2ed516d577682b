"""The making of an instance from an image: checked, its tree made and told who it is, and all of it recorded at once.

Whoever dies in between leaves a directory and a tree that no record mentions: `cloison repair` takes them.
"""

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import Unsupported
from cloison.base.ids import check_name, new_id
from cloison.engine import acceptance, claims, disk_limits, identity
from cloison.engine.records import Record, Runner
from cloison.spec.config import Config, assign_all
from cloison.spec.limits import Limits
from cloison.spec.nics import by_default
from cloison.storage import trees

if TYPE_CHECKING:
    from cloison.engine.engine import Engine, Progress
    from cloison.images import Image

NAME_WORDS = ("calm", "clear", "firm", "fine", "light", "plain", "quick", "quiet", "sharp", "snug", "solid", "warm")
NAME_NOUNS = ("arch", "beam", "cell", "cove", "door", "hall", "lodge", "nook", "panel", "room", "vault", "wall")


def create(
    engine: "Engine",
    image: str,
    name: str,
    *,
    config: Iterable[str],
    options: Mapping[str, str] | None,
    storage: str,
    progress: "Progress | None",
) -> Record:
    """Make an instance from the image behind a reference: see `Engine.create`. Everything that can be refused is,
    before an image is fetched or built."""
    wanted = assign_all(Config(), config)
    wanted = msgspec.structs.replace(wanted, nics=by_default(wanted.nics))
    if wanted.limits != Limits():
        from cloison.engine import limits

        limits.check(engine.driver, new_id(), wanted)
    engine.pools.get(storage)
    if name:
        check_name(name)
        engine.expect_free(name)
    acceptance.accept(engine, wanted, before=Config())
    if wanted.mounts:
        from cloison.engine import mounts

        mounts.accept(engine, wanted, before=Config())
    found = engine.image(image, options=options, progress=progress)
    expect_runnable(found)
    made = make(engine, found, name or _free_name(engine), wanted, storage, progress)
    if wanted.nics:
        engine.names_changed({made.name})
    return made


def make(engine: "Engine", image: "Image", name: str, wanted: Config, pool: str, progress: "Progress | None") -> Record:
    """Make an instance from an image that is there; nothing is left of it where that fails. Raises Exists, NoSpace."""
    instance_id = new_id()
    with full_disk_named(engine.layout.data), engine.driver.command(instance_id, "create"):
        directory = engine.layout.instance(instance_id)
        try:
            with engine.pools.making(pool) as driver:
                os.mkdir(directory, 0o700)
                tree = driver.create(image.layers, disk_limits.size_of(wanted), progress=progress)
                draft = of_image(msgspec.structs.replace(_draft(name, wanted, instance_id), tree=tree), image)
                texts = identity.written(engine, draft, {})
                fill(engine, draft, image)
                with engine.store.transaction() as changes:
                    made = claims.claim(changes, engine.layout.root, draft)
                    identity.keep(changes, made, texts)
                    changes.record(made.id, "created", f"{made.name} {made.image_name}")
                return made
        except BaseException:
            trees.remove(directory)
            engine.driver.forget(instance_id)
            raise


def _draft(name: str, wanted: Config, instance_id: str) -> Record:
    """A new record, before it is one of an image and anything is claimed for it."""
    return Record(
        id=instance_id,
        name=name,
        kind="container",
        image="",
        image_name="",
        created_ns=time.time_ns(),
        id_base=0,
        config=wanted,
    )


def of_image(record: Record, image: "Image") -> Record:
    """A record with all that an image says of instances. Raises NotFound for a user that the image does not have."""
    runner = Runner()
    if image.user or image.workdir:
        from cloison.engine import runners

        runner = runners.of_image(image)
    return msgspec.structs.replace(
        record,
        image=image.digest,
        image_name=image.names[0] if image.names else image.digest[:19],
        layers=image.layers,
        command=image.command,
        env=image.env,
        stop_signal=image.stop_signal,
        is_system=image.is_system,
        has_templates=bool(image.templates),
        runner=runner,
        is_copy=False,
    )


def expect_runnable(image: "Image") -> None:
    """Raise Unsupported for an image that is for other processors than this machine's."""
    from cloison.images import architecture

    if not architecture.runs_here(image.architecture):
        raise Unsupported(
            f"the image {image.names[0] if image.names else image.digest[:19]} is for {image.architecture}, and this"
            f" machine is {architecture.host_architecture()}",
            hint="take one that is for this machine; or apt-get install qemu-user-static, and the kernel runs others",
            architecture=image.architecture,
        )


def fill(engine: "Engine", record: Record, image: "Image") -> None:
    """Make in a new tree what its image asks for. Only by who is making the instance."""
    if image.workdir:
        from cloison.engine import runners

        runners.make_directory(engine, record, image)
    if record.has_templates:
        from cloison.engine import file_templates

        file_templates.apply(engine, record, "create")


def _free_name(engine: "Engine") -> str:
    """One that no instance has: "calm-cove-17" and the like."""
    while True:
        pick = int.from_bytes(os.urandom(2), "big")
        word, noun = NAME_WORDS[pick % len(NAME_WORDS)], NAME_NOUNS[pick // 256 % len(NAME_NOUNS)]
        name = f"{word}-{noun}-{pick % 1000}"
        if engine.store.get(f"names/{name}") is None:
            return name
