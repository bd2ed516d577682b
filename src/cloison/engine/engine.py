"""The engine: an installation of cloison, its images and its instances.

Usable from several threads and processes at once; it holds nothing open but the store's connections.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from cloison.base.disk import full_disk_named
from cloison.base.errors import Busy, Denied, Exists, Invalid
from cloison.engine import drivers, records
from cloison.engine.instance import Instance
from cloison.engine.layout import Layout, layout
from cloison.engine.store import Event, Store
from cloison.spec.driver import Watch
from cloison.spec.nics import are_wired

if TYPE_CHECKING:
    from cloison.engine.billing import LedgerReport
    from cloison.engine.pools import Pools
    from cloison.engine.results import DueSnapshot, Repaired, Stats
    from cloison.engine.servers import Servers
    from cloison.engine.volume_snapshots import VolumeSnapshots
    from cloison.engine.volumes import Volume, Volumes
    from cloison.engine.wiring import Networks
    from cloison.images import Image, ImageStore
    from cloison.images.templates import Template
    from cloison.network.network import Network
    from cloison.spec.finding import Finding
    from cloison.spec.tariff import Tariff

Progress = Callable[[str, int, int | None], None]


class Engine:
    """One installation. Use `open_engine` (in the package: `cloison.open`)."""

    def __init__(self, where: Layout) -> None:
        self.layout = where
        self.store = Store(where.store, self._relieve)
        self.driver = drivers.container_driver(where)

    @functools.cached_property
    def images(self) -> "ImageStore":
        """The images of this installation."""
        from cloison.images import ImageStore

        return ImageStore(self.layout.images)

    @functools.cached_property
    def networks(self) -> "Networks":
        """The networks of this installation."""
        from cloison.engine.wiring import Networks

        return Networks(self)

    @functools.cached_property
    def pools(self) -> "Pools":
        """The storage pools of this installation."""
        from cloison.engine.pools import Pools

        return Pools(self)

    @functools.cached_property
    def volumes(self) -> "Volumes":
        """The volumes of this installation."""
        from cloison.engine.volumes import Volumes

        return Volumes(self)

    def volume_snapshots(self, volume: "Volume") -> "VolumeSnapshots":
        """The snapshots of one of them."""
        from cloison.engine.volume_snapshots import VolumeSnapshots

        return VolumeSnapshots(self, volume)

    @functools.cached_property
    def servers(self) -> "Servers":
        """The registries and image servers that this installation knows."""
        from cloison.engine.servers import Servers

        return Servers(self)

    # --- instances ---------------------------------------------------------------------------------------

    def get(self, name: str) -> Instance:
        """The instance called `name`, or with that id. Raises NotFound."""
        return Instance(self, records.load(self.store, name))

    def instances(self) -> tuple[Instance, ...]:
        """All of them, by name."""
        return tuple(Instance(self, record) for record in records.load_all(self.store))

    def create(
        self,
        image: str,
        name: str = "",
        *,
        config: Iterable[str] = (),
        options: Mapping[str, str] | None = None,
        storage: str = "default",
        progress: Progress | None = None,
    ) -> Instance:
        """Make an instance from an image, building the image where it is missing.

        `config` are `key=value` assignments, `options` those of the image's template; `storage` is the pool that its
        files are in. Without a name it gets one, and where none of `config` is about nics, one on the network cloison0
        (`nics.eth0.type=empty`: a loopback alone).
        Raises Invalid, Exists, and what `images.obtain` raises; then nothing is left of it."""
        from cloison.engine import creating

        made = creating.create(self, image, name, config=config, options=options, storage=storage, progress=progress)
        return Instance(self, made)

    def names_changed(self, names: Collection[str]) -> None:
        """These instances and networks have other addresses than before: packet rules that name them follow."""
        from cloison.engine import following

        following.follow(self, names)

    def network_changed(self, before: "Network", after: "Network") -> None:
        """A network has other options than before: nics that run on it follow."""
        from cloison.engine import following

        following.network_changed(self, before, after)

    def copy(
        self,
        source: str,
        name: str,
        *,
        config: Iterable[str] = (),
        is_alone: bool = False,
        storage: str = "",
        progress: Progress | None = None,
    ) -> Instance:
        """Make another instance of what `source` is now, or with `NAME/SNAPSHOT` was then: see
        `cloison.engine.copying`. `config` are assignments on top of its configuration; with `is_alone` the snapshots
        stay behind; `storage` is the pool of the copy, "" for that of the source. Raises what `create` raises."""
        from cloison.engine import copying

        of, _slash, snapshot = source.partition("/")
        made = copying.copy(
            self,
            self.get(of),
            name,
            snapshot=snapshot,
            config=config,
            is_alone=is_alone,
            storage=storage,
            progress=progress,
        )
        return Instance(self, made)

    def publish(
        self,
        source: str,
        name: str,
        *,
        force: bool = False,
        description: str = "",
        progress: Progress | None = None,
    ) -> "Image":
        """Make the image `name` of what an instance is, or with `NAME/SNAPSHOT` was. One that runs only with `force`:
        it is held still for a moment. Raises Exists, Invalid, NotFound, NoSpace, WrongState."""
        from cloison.engine import publishing

        of, _slash, snapshot = source.partition("/")
        return publishing.publish(
            self, self.get(of), name, snapshot=snapshot, force=force, description=description, progress=progress
        )

    def rebuild(
        self,
        name: str,
        image: str = "",
        *,
        options: Mapping[str, str] | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Instance:
        """Give an instance a new root file system, of another image or of its own one as that is now; all else of it
        stays. See `cloison.engine.restoring`. Raises WrongState where it runs, without `force`; NotFound."""
        from cloison.engine import restoring

        instance = self.get(name)
        found = self.image(image or instance.record.image_name, options=options, progress=progress)
        restoring.rebuild(self, instance, found, force=force, progress=progress)
        return instance

    def run_due(self, told: "Callable[[DueSnapshot], object] | None" = None) -> "tuple[DueSnapshot, ...]":
        """Make the snapshots that are due by their schedules, and delete those that have expired; what was done, which
        `told` also hears of at once. For a timer. Raises the first error, after all others have had their turn."""
        from cloison.engine import due

        return due.run(self, told=told) if told else due.run(self)

    def export(
        self,
        name: str,
        *,
        since: str = "",
        has_snapshots: bool = True,
        has_image: bool = True,
        compression: str = "zstd",
    ) -> AbstractContextManager[Iterator[bytes]]:
        """An instance as one stream, for `import_instance` here or elsewhere: see `cloison.engine.transfer`. `since` is
        a snapshot that the other side has already. Raises NotFound, Invalid, Unsupported, WrongState."""
        from cloison.engine import transfer

        wanted = transfer.Wanted(since, has_snapshots, has_image, compression)
        return transfer.exported(self, self.get(name), wanted)

    def import_instance(
        self,
        chunks: Iterable[bytes],
        name: str = "",
        *,
        config: Iterable[str] = (),
        storage: str = "",
        force: bool = False,
    ) -> Instance:
        """Make an instance of what `export` gave, under its own name or another; or bring one that came earlier up to
        date, with what has changed since. Raises what `create` raises, and Invalid for a stream that is cut off,
        damaged or no such; then nothing is left of it."""
        from cloison.engine import arriving

        return Instance(self, arriving.imported(self, chunks, name, config=tuple(config), storage=storage, force=force))

    def launch(
        self,
        image: str,
        name: str = "",
        *,
        config: Iterable[str] = (),
        options: Mapping[str, str] | None = None,
        storage: str = "default",
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> Instance:
        """Create an instance and start it. One that does not start is deleted again."""
        instance = self.create(image, name, config=config, options=options, storage=storage, progress=progress)
        try:
            instance.start(watch=watch)
        except BaseException:
            with contextlib.suppress(Exception):
                instance.delete(force=True)
            raise
        return instance

    def expect_free(self, name: str) -> None:
        """Ahead of a long build; the transaction decides."""
        if self.store.get(f"names/{name}") is not None:
            raise Exists(f"there is already an instance {name!r}", hint="choose another name, or delete it first")

    # --- images ------------------------------------------------------------------------------------------

    def image(
        self,
        reference: str,
        *,
        options: Mapping[str, str] | None = None,
        rebuild: bool = False,
        progress: Progress | None = None,
    ) -> "Image":
        """The image behind a name, a digest or `template[/release]`; built where it is missing, or with `rebuild`.

        A file `./NAME.toml` is a recipe, and so is NAME where the host has one of its own: see `engine.recipes`.
        `docker://…` and `REMOTE:NAME` are pulled where they are missing: see `engine.servers`."""
        from cloison.engine import building

        if building.recipe_path(self, reference) and (rebuild or self.images.known(reference) is None):
            return building.build(self, reference, options or {}, "", rebuild=rebuild, progress=progress)
        if ":" in reference:
            if rebuild:
                raise Invalid(f"{reference} is not built here", hint=f"cloison image pull {reference}")
            return self.servers.image(reference, options=options, progress=progress)
        from cloison.images import obtain

        return obtain(
            self.images,
            reference,
            options=options,
            rebuild=rebuild,
            own_templates=self.layout.templates,
            progress=progress,
        )

    def build(
        self,
        reference: str,
        *,
        options: Mapping[str, str] | None = None,
        template: str = "",
        rebuild: bool | None = None,
        progress: Progress | None = None,
    ) -> "Image":
        """Build an image by a template or a recipe; by the program at the path `template`, as `reference`.

        `rebuild` None builds again what a template builds, and a recipe where it, its files or its base have changed.
        Raises what `image` raises; Invalid for what cannot be built."""
        from cloison.engine import building

        return building.build(self, reference, options or {}, template, rebuild=rebuild, progress=progress)

    def templates(self) -> "tuple[Template, ...]":
        """What images can be built from, by name."""
        from cloison.images.templates import templates

        return templates(self.layout.templates)

    def remove_image(self, reference: str) -> "Image":
        """Remove an image that no instance is made from; where `reference` is one of several names, that name alone.
        A digest is the whole image. Raises NotFound, Busy."""
        with self.freeing():
            return self.images.untag(reference) or self._remove_image(reference)

    def _remove_image(self, reference: str) -> "Image":
        image = self.images.find(reference)
        with self.pools.still() as mentioned:
            users = [record.name for record in records.load_all(self.store) if record.image == image.digest]
            if users:
                raise Busy(
                    f"the image {reference!r} is in use by {', '.join(users)}", hint="delete those instances first"
                )
            if self.pools.uses(image, self.images.images(), mentioned):
                raise Busy(
                    f"the image {reference!r} is in use by snapshots or volumes",
                    hint="delete the snapshots of instances that were made from it",
                )
            return self.images.remove(reference)

    # --- the installation --------------------------------------------------------------------------------

    def freeing(self) -> AbstractContextManager[None]:
        """For whatever gives space back: on a full disk it has that of the reserve. See `cloison.storage.reserve`."""
        from cloison.storage import reserve

        return reserve.freeing(self.layout.reserve)

    def _relieve(self, pieces: int) -> None:
        from cloison.storage import reserve

        reserve.release(self.layout.reserve, pieces)

    def events(self, subject: str = "", after: int = 0) -> tuple[Event, ...]:
        """What happened, oldest first."""
        return self.store.events(subject, after)

    def stats(self, names: Iterable[str] = (), *, is_booked: bool = True) -> "tuple[Stats, ...]":
        """What the instances of these names use now, or all of them; read all at once, and booked into the ledger.

        Raises NotFound."""
        from cloison.engine import accounting

        known = tuple(records.load(self.store, name) for name in names) or records.load_all(self.store)
        return accounting.stats(self, known, is_booked=is_booked)

    def sample(self) -> int:
        """Book what every instance has consumed since it was read last, its disk space too; gives how many there are.

        Measuring the files of an instance takes as long as there are many."""
        from cloison.engine import accounting

        return len(accounting.sample(self, records.load_all(self.store), with_disk=True))

    def ledger(
        self, begin_ns: int, end_ns: int, *, by: str = "instance", tariff: "Tariff | None" = None
    ) -> "LedgerReport":
        """What was consumed from `begin_ns` to `end_ns` (since 1970), in the whole hours that this touches, by instance
        or by project: up to now, deleted instances included. Raises Invalid."""
        from cloison.engine import accounting, billing

        if by not in tuple(billing.By):
            raise Invalid(f"by={by}: a report has lines by {' or by '.join(billing.By)}")
        accounting.sample(self, records.load_all(self.store))
        return billing.report(self.store, begin_ns, end_ns, by=billing.By(by), tariff=tariff)

    def keys(self) -> AbstractContextManager[Callable[[float], str]]:
        """What waits so many seconds for a key on the caller's terminal and gives it, or an empty text."""
        return self.driver.keys()

    def leave_ground(self, before: records.Record, after: records.Record | None = None) -> None:
        """Give back what the nics of an instance have had of the host, and have no more now that it is gone, or has
        changed to `after`."""
        if are_wired(before.config.nics) or are_wired(before.in_force.nics):
            from cloison.engine import grounds

            grounds.settle(self, before, after)

    def is_ruled(self, *, without: str = "") -> bool:
        """Whether anybody needs the installation's tables of packet rules but the network `without`."""
        from cloison.engine import grounds

        return grounds.is_ruled(self, without=without)

    def restore_networks(self) -> tuple[str, ...]:
        """Have everything of networks and nics again that somebody has taken from this host while it was in use; gives
        the names of the networks and instances that it was of."""
        from cloison.engine import grounds

        return grounds.restore(self)

    def check(self) -> "tuple[Finding, ...]":
        """What this host offers, what it lacks, and what to do about it."""
        return (*drivers.check(self.layout), *self.networks.findings())

    def repair(self) -> "tuple[Repaired, ...]":
        """Take back everything that died halfway: of instances, networks, deletions, image builds.

        Raises the first error of what cannot be repaired now, after all others have been."""
        from cloison.engine import repairing

        with self.freeing():
            return repairing.repair(self)

    def command_line(self, *words: str) -> tuple[str, ...]:
        """The command that runs `cloison` on this installation, for a monitor that cannot import anything."""
        root = ("--root", self.layout.root) if self.layout.root else ()
        return (sys.executable, "-m", "cloison", *root, *words)


def open_engine(root: str | None = None) -> Engine:
    """The installation below `root` (default: CLOISON_ROOT, else the host's own), made where it is missing.

    Raises Denied without root's rights."""
    where = layout(root)
    try:
        with full_disk_named(where.data):
            where.make()
            if not os.path.exists(where.reserve_last):
                from cloison.storage import reserve

                reserve.fill(where.reserve)
    except PermissionError as problem:
        raise Denied(f"{problem.filename} cannot be made: cloison has to be run as root", hint="try sudo") from problem
    return Engine(where)
