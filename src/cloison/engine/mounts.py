"""What is mounted in an instance besides its own: from its configuration to mounts of the OCI specification, and, for
one that runs, from those in force to those that are wanted.

A path of the host is followed once, by who configures it: it has to be written without links, so that nobody who may
change a directory on the way can lead it elsewhere later.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Busy, Denied, Exists, Invalid, NotFound
from cloison.base.ids import RANGE
from cloison.engine.records import Record
from cloison.engine.results import Change
from cloison.spec import config as configuration
from cloison.spec.config import Config
from cloison.spec.mount_keys import MOUNT_KEYS, check, mount_name
from cloison.spec.mounts import PRIVATE, TMPFS, HostUser, MountPoint
from cloison.spec.oci import IdMapping, Mount

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance

_Step = Callable[[], None]
_Configs = tuple[Config, ...]


class MountInfo(msgspec.Struct, frozen=True):
    """One mount of an instance. `stored`: at its next start; `in_force`: now. `idmap` as it is written."""

    instance: str
    name: str
    type: str
    source: str
    target: str
    ro: bool
    idmap: str
    stored: bool
    in_force: bool


# --- from the configuration --------------------------------------------------------------------------------------


def accept(engine: "Engine", config: Config, *, before: Config) -> None:
    """Raise Invalid, NotFound or Denied for mounts that an instance cannot have, as far as they have changed."""
    check(config.mounts, is_privileged=config.security.privileged)
    for name, each in sorted(config.mounts.items()):
        if each != before.mounts.get(name):
            _source(engine, name, each)


def placed(
    engine: "Engine", record: Record, *, is_dry: bool = False, is_there_already: bool = False
) -> tuple[Mount, ...]:
    """The mounts of a record, those first in which others are; directories that it is to make are there then, unless
    `is_dry`. Raises NotFound, Invalid, but for what `is_there_already`, inside."""
    return tuple(
        _placed(engine, record, name, each, is_dry=is_dry, is_there_already=is_there_already)
        for name, each in sorted(record.config.mounts.items(), key=lambda item: item[1].target.split("/"))
    )


def while_stopped(
    engine: "Engine", config: Config
) -> tuple[tuple[tuple[str, str, bool], ...], dict[str, tuple[str, str]]]:
    """What of an instance's mounts is seen by who looks at its files while it does not run: volumes, as (directory of
    the host, target, read-only), and "" for the directory of all else; and the targets of the latter, each with its
    name and what it is. Owners in a volume are those inside already; elsewhere only the mount makes them so."""
    seen, absent = [], {}
    for name, each in sorted(config.mounts.items(), key=lambda item: item[1].target.split("/")):
        has_owners = each.idmap is not False or config.security.privileged
        if each.is_volume and has_owners and not isinstance(each.idmap, HostUser):
            seen.append((engine.volumes.path(*each.volume), each.target, each.ro))
        else:
            seen.append(("", each.target, True))
            absent[each.target] = (name, each.source or each.type)
    return tuple(seen), absent


def mappings(record: Record, config: Config) -> tuple[IdMapping, ...]:
    """Those of the user namespace of what runs."""
    return () if config.security.privileged else (IdMapping(0, record.id_base, RANGE),)


def _placed(
    engine: "Engine", record: Record, name: str, each: MountPoint, *, is_dry: bool, is_there_already: bool
) -> Mount:
    options = ["nodev", *(["ro"] if each.ro else [])]
    if each.type == TMPFS:
        size = [f"size={each.size_bytes}"] if each.size_bytes is not None else []
        return Mount(each.target, TMPFS, TMPFS, (*options, "mode=755", *size))
    is_shown = is_there_already or not is_dry
    source = _source(engine, name, each, is_there_already=is_there_already, is_shown=is_shown)
    if each.create and not is_dry:
        _make(source, each.idmap)
    r = "r" if each.recursive else ""
    options += [f"{r}bind"] + ([f"{r}{each.propagation}"] if each.propagation != PRIVATE else [])
    if not os.path.isdir(source) and not each.is_volume and not (each.create and is_dry):
        options.append("create=file")
    own = mappings(record, record.config)
    if not each.is_mapped or not (own or isinstance(each.idmap, HostUser)):
        return Mount(each.target, "bind", source, tuple(options))
    uids = gids = own
    if isinstance(each.idmap, HostUser):
        base = own[0].hostID if own else 0
        uids = (IdMapping(each.idmap.uid, base + each.idmap.inside_uid, 1),)
        gids = (IdMapping(each.idmap.gid, base + each.idmap.inside_gid, 1),)
    return Mount(each.target, "bind", source, (*options, f"{r}idmap"), uids, gids)


def _source(
    engine: "Engine", name: str, each: MountPoint, *, is_there_already: bool = False, is_shown: bool = False
) -> str:
    """The path of the host, which may be gone where it `is_there_already`; `is_shown`: of a volume that is a disk, its
    files are there. Raises NotFound, Invalid, Denied."""
    if each.type == TMPFS:
        return ""
    if each.is_volume:
        return engine.volumes.path(*each.volume, is_shown=is_shown)
    key = f"mounts.{name}"
    if is_there_already:
        return each.source
    real = os.path.realpath(each.source)
    if real != each.source:
        raise Invalid(
            f"{key}.source={each.source}: there is a link on the way, which could lead elsewhere another time",
            hint=f"write {key}.source={real}, if that is what is meant",
        )
    if real == engine.layout.data or real.startswith(f"{engine.layout.data}/"):
        raise Denied(f"{key}.source={each.source}: this is cloison's own", hint="a volume can be shared")
    if not each.create and not os.path.exists(each.source):
        raise NotFound(
            f"{key}.source={each.source}: there is no such directory on this host",
            hint=f"{key}.create=true makes it when it is needed; the name of a volume has no slash in front",
        )
    return each.source


def _make(path: str, idmap: bool | HostUser | None) -> None:  # noqa: FBT001
    if os.path.exists(path):
        return
    os.makedirs(path, mode=0o755)
    if isinstance(idmap, HostUser):
        os.chown(path, idmap.uid, idmap.gid)


# --- in what runs ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def changed(engine: "Engine", before: Record, after: Record) -> Iterator[None]:
    """The mounts of what runs are those in force in `after`; those of `before`, when something goes wrong inside."""
    done: list[_Step] = []
    try:
        for change, back in _steps(engine, _in_force(before), _in_force(after)):
            change()
            done.append(back)
        yield
    except BaseException:
        for back in reversed(done):
            back()
        raise


def _in_force(record: Record) -> Record:
    return msgspec.structs.replace(record, config=record.in_force, live=None)


def _steps(engine: "Engine", before: Record, after: Record) -> Iterator[tuple[_Step, _Step]]:
    """What is to be done, each with what takes it back: first everything goes that has to, the innermost first."""
    old, new = before.config.mounts, after.config.mounts
    touched = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    going = {each.target for each in (old.get(name) for name in touched) if each}
    coming = {each.target for each in (new.get(name) for name in touched) if each}
    own = mappings(before, before.config)

    def attach(mount: Mount) -> _Step:
        return lambda: engine.driver.attach_mount(before.id, before.name, mount, own)

    def detach(mount: Mount) -> _Step:
        return lambda: engine.driver.detach_mount(before.id, before.name, mount, own)

    for mount in reversed(placed(engine, before, is_dry=True, is_there_already=True)) if going else ():
        if mount.destination in going:
            yield detach(mount), attach(mount)
    for mount in placed(engine, after) if coming else ():
        if mount.destination in coming:
            yield attach(mount), detach(mount)


# --- one by one --------------------------------------------------------------------------------------------------


class Mounts:
    """The mounts of one instance, besides its own: `Instance.mounts`."""

    def __init__(self, instance: "Instance", engine: "Engine") -> None:
        self._instance = instance
        self._engine = engine

    def add(self, name: str, *settings: str, scope: str = "both") -> Change:
        """Mount one more, `settings` being such as `source=data`, `target=/srv`. Raises Exists, and what
        `Instance.set` raises."""
        mount_name(name)

        def words(configs: _Configs) -> Sequence[str]:
            if any(name in config.mounts for config in configs):
                raise Exists(f"mounts.{name}: there is such a mount already", hint="choose another name", name=name)
            return [f"mounts.{name}.{setting}" for setting in settings]

        if not settings:
            raise Invalid(f"mounts.{name}: say what and where", hint="source=VOLUME target=/srv, for one")
        return self._instance.change(words, scope=scope)

    def set(self, name: str, *settings: str, scope: str = "both") -> Change:
        """Change one, which unmounts it for a moment where it runs. Raises NotFound, and what `Instance.set` raises."""

        def words(configs: _Configs) -> Sequence[str]:
            self._expect(name, configs)
            return [f"mounts.{name}.{setting}" for setting in settings]

        return self._instance.change(words, scope=scope)

    def remove(self, name: str, *, scope: str = "both", force: bool = False) -> Change:
        """Mount it no longer. Raises NotFound, and Busy while somebody inside uses it; with `force` it is gone for
        everybody who does not use it yet."""

        def words(configs: _Configs) -> Sequence[str]:
            self._expect(name, configs)
            nothing = MountPoint()
            fields = {key.name.rpartition(".")[2]: (key.field or key.name).rpartition(".")[2] for key in MOUNT_KEYS}
            return [
                f"mounts.{name}.{word}="
                for word, field in fields.items()
                if any(
                    getattr(config.mounts.get(name, nothing), field) != getattr(nothing, field) for config in configs
                )
            ]

        try:
            return self._instance.change(words, scope=scope)
        except Busy:
            if not force:
                raise
        self._let_go(name)
        return self._instance.change(words, scope=scope)

    def list(self) -> tuple[MountInfo, ...]:
        """All of them, those that are only stored or only in force included."""
        stored, live = self._instance.configs()
        later, now = stored.mounts, live.mounts if live else {}
        pairs = [(name, each) for name in sorted({*later, *now}) for each in _different(now.get(name), later.get(name))]
        return tuple(
            MountInfo(
                self._instance.name,
                name,
                each.type,
                each.source,
                each.target,
                each.ro,
                configuration.value_of(Config(mounts={name: each}), f"mounts.{name}.idmap")
                or str(each.is_mapped).lower(),
                stored=later.get(name) == each,
                in_force=now.get(name) == each,
            )
            for name, each in pairs
        )

    def _expect(self, name: str, configs: _Configs) -> None:
        if not any(name in config.mounts for config in configs):
            raise NotFound(f"mounts.{name}: there is no such mount", hint="`cloison mount ls` lists all", name=name)

    def _let_go(self, name: str) -> None:
        with self._instance.command("unmount"):
            record = _in_force(self._instance.record)
            target = record.config.mounts[name].target
            own = mappings(record, record.config)
            for mount in placed(self._engine, record, is_dry=True, is_there_already=True):
                if mount.destination == target:
                    self._engine.driver.detach_mount(record.id, record.name, mount, own, is_forced=True)


def _different(*found: MountPoint | None) -> tuple[MountPoint, ...]:
    return tuple(dict.fromkeys(each for each in found if each is not None))
