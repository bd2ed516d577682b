"""Recipes carried out: an image over a base, out of an instance that boots nothing.

The instance is made of the base. Its files are put into its tree while it does not run; packages are installed and
commands run while its init waits. What it then has to itself becomes the uppermost layer of the image. Order: files
that are early, packages, the other files, commands. Each time something is run, it is a command inside, with an
instance's limits of power.

The image has a property `recipe`: the digest of the recipe, of the files that it names, and of the base. As long as
that is the same, nothing is built again. A build that was killed leaves an instance that bears its lock's key; the next
build of the same recipe, or `cloison repair`, deletes it.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from cloison.base.disk import full_disk_named
from cloison.base.errors import CloisonError, Host, Invalid, NotFound, Unsupported
from cloison.base.ids import new_id
from cloison.engine import identity, networks, records
from cloison.engine.records import Record, tree_of
from cloison.images import building
from cloison.images.changes import check_name
from cloison.images.image import Facts
from cloison.spec.recipe import File, Recipe, parse
from cloison.storage import placing
from cloison.storage.driver import Tree

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance
    from cloison.images import Image

Progress = Callable[[str, int, int | None], None]
FORM = 1  # of the digest; another one where recipes come to mean something else
PROPERTY = "recipe"
MARK = "CLOISON_RECIPE"  # a variable of the instance that builds: the key of its lock
_WAITING = "/bin/sh -c 'trap exit TERM; while :; do sleep 1000 & wait $!; done'"
_POLICY = "/usr/sbin/policy-rc.d"  # Debian: whether a package may start its service now
_NO_SERVICES = f"""[ ! -e {_POLICY} ] && [ -d {os.path.dirname(_POLICY)} ] || exit 1
printf '#!/bin/sh\\nexit 101\\n' >{_POLICY} && chmod 755 {_POLICY}"""
_STUB = """f=$(readlink -m /etc/resolv.conf); case $f in /run/*) mkdir -p "${f%/*}"; cat >"$f";; esac"""
_TIDY = "apt-get clean; rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log"
_APT = (
    *("-o", "DPkg::Options::=--force-confdef", "-o", "DPkg::Options::=--force-confold"),
    *("-o", "DPkg::Options::=--force-unsafe-io", "-o", "DPkg::Use-Pty=0", "-o", "APT::Keep-Downloaded-Packages=false"),
    *("--yes", "--quiet", "--no-install-recommends", "install"),
)
_NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "APT_CONFIG": "/run/cloison-apt.conf"}
_SHOWN_LINES = 3


def load(path: str) -> tuple[str, Recipe]:
    """The image's name and the recipe in a file. Raises NotFound, Host, Invalid."""
    try:
        with open(path, "rb") as file:
            recipe = parse(file.read())
        name = recipe.name or os.path.basename(path).removesuffix(".toml")
        check_name(name)
    except FileNotFoundError:
        raise NotFound(f"there is no recipe {path}", path=path) from None
    except OSError as problem:
        raise Host(f"the recipe {path} cannot be read: {problem.strerror}", path=path) from problem
    except Invalid as problem:
        raise Invalid(f"{path}: {problem.sentence}", hint=problem.hint, path=path) from problem
    return name, recipe


def build(engine: "Engine", path: str, *, is_anew: bool = False, progress: Progress | None = None) -> "Image":
    """The image of a recipe, built unless it is there; `is_anew`: in any case. Raises Invalid, NotFound, and what
    making the base, an instance and its start raise; Host for a command that fails."""
    from cloison.images.deriving import named_again

    heard = progress or (lambda _stage, _done, _total: None)
    name, recipe = load(path)
    base = engine.image(recipe.base, options=recipe.options, progress=progress)
    sources = os.path.dirname(os.path.abspath(path))
    key = digest(recipe, base.digest, sources)
    engine.images.prepare()
    with building.alone(engine.images, key[:16], heard):
        for left in _marked(engine, key[:16]):
            _discard(left)
        known = None if is_anew else _known(engine, key)
        if known is not None:
            return known if name in known.names else named_again(engine.images, known, (name,))
        return _Build(engine, name, recipe, base, sources, key, heard).carried_out()


def digest(recipe: Recipe, base: str, sources: str) -> str:
    """What decides whether an image is that of a recipe: hexadecimal digits. Raises NotFound for a source that is not
    there."""
    said = hashlib.sha256(msgspec.json.encode((FORM, recipe, base), order="deterministic"))
    for file in recipe.files:
        if file.source is not None:
            for line in _contents(os.path.join(sources, file.source)):
                said.update(line)
    return said.hexdigest()


def _contents(path: str) -> Iterator[bytes]:
    """What a source is made of; names are relative, so that a recipe may be moved with its files."""
    if not os.path.exists(path):
        raise NotFound(f"the recipe names a file that is not there: {path}", path=path)
    pending = [(path, "")]
    while pending:
        here, name = pending.pop()
        found = os.stat(here) if not name else os.lstat(here)
        yield b"%s\0%o\0" % (os.fsencode(name), found.st_mode)
        if os.path.islink(here) and name:
            yield os.fsencode(os.readlink(here)) + b"\0"
        elif os.path.isdir(here):
            pending += [(f"{here}/{entry}", f"{name}/{entry}") for entry in sorted(os.listdir(here), reverse=True)]
        elif os.path.isfile(here):
            with open(here, "rb") as file:
                yield hashlib.file_digest(file, "sha256").digest()


def _known(engine: "Engine", key: str) -> "Image | None":
    return next((image for image in engine.images.images() if image.properties.get(PROPERTY) == key), None)


def sweep(engine: "Engine") -> tuple[str, ...]:
    """Delete the instances of builds that were killed; their names."""
    gone = []
    for instance in _marked(engine):
        if not building.is_at_work(engine.images, instance.config.env[MARK]):
            _discard(instance)
            gone.append(instance.name)
    return tuple(gone)


def _marked(engine: "Engine", key: str = "") -> "list[Instance]":
    return [one for one in engine.instances() if MARK in one.config.env and key in ("", one.config.env[MARK])]


def _discard(instance: "Instance") -> None:
    with contextlib.suppress(NotFound):
        instance.delete(force=True)


class _Build:
    """One build. The caller holds its lock."""

    def __init__(
        self, engine: "Engine", name: str, recipe: Recipe, base: "Image", sources: str, key: str, progress: Progress
    ) -> None:
        self._engine = engine
        self._name = name
        self._recipe = recipe
        self._base = base
        self._sources = sources
        self._key = key
        self._progress = progress
        self._log = f"{engine.images.root}/last-build.log"

    def carried_out(self) -> "Image":
        recipe = self._recipe
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._log)
        instance = self._made()
        try:
            self._place(instance, [file for file in recipe.files if file.early], "files")
            if recipe.packages:
                self._install(instance)
            self._place(instance, [file for file in recipe.files if not file.early], "files")
            if recipe.commands:
                self._run_commands(instance)
            self._progress("store", 0, None)
            return self._published(instance)
        finally:
            _discard(instance)

    def _made(self) -> "Instance":
        """The instance, in a pool of trees that stack: what it has to itself is a layer as it lies there."""
        pools = [pool.name for pool in self._engine.pools.all() if pool.driver == "overlay"]
        if not pools:
            raise Unsupported(
                "a recipe is built in a storage pool of the driver overlay, and there is none",
                hint="cloison storage create NAME overlay",
            )
        config = [f"init.command={_WAITING}", "init.uid=0", "init.cwd=/", f"env.{MARK}={self._key[:16]}"]
        if not self._recipe.is_networked:
            config.append("nics.eth0.type=empty")
        pool = "default" if "default" in pools else pools[0]
        return self._engine.create(_hex(self._base), f"recipe-{new_id()}", config=config, storage=pool)

    # --- files -------------------------------------------------------------------------------------------

    def _place(self, instance: "Instance", files: list[File], stage: str) -> None:
        if not files:
            return
        with self._tree(instance) as root, full_disk_named(self._engine.layout.data):
            for number, file in enumerate(files):
                self._progress(stage, number, len(files))
                self._place_one(root, file)

    def _place_one(self, root: int, file: File) -> None:
        owner = placing.owner_of(root, file.owner)
        mode = int(file.mode, 8) if file.mode else None
        if file.link is not None:
            placing.link(root, file.path, file.link, owner)
        elif file.content is not None:
            placing.write(root, file.path, file.content.encode(), owner, 0o644 if mode is None else mode)
        elif file.source is not None:
            placing.copy(root, file.path, os.path.join(self._sources, file.source), owner, mode)

    @contextlib.contextmanager
    def _tree(self, instance: "Instance") -> Iterator[int]:
        tree = _tree_of(self._engine, instance)
        with self._engine.pools.driver(tree.pool).opened(tree) as root:
            yield root

    # --- what is run -------------------------------------------------------------------------------------

    def _install(self, instance: "Instance") -> None:
        from cloison.images.templates import debian_output, debian_tools

        self._progress("packages", 0, None)
        with self._running(instance), self._without_services(instance):
            if instance.exec(["/bin/sh", "-c", "command -v apt-get dpkg"]).code != 0:
                raise Unsupported(
                    f"packages are installed by apt, which {self._recipe.base} does not have",
                    hint="install them by commands",
                )
            settings = "".join(f"{line}\n" for line in debian_tools.apt_settings()).encode()
            instance.exec(["/bin/sh", "-c", "cat >/run/cloison-apt.conf"], input=settings)
            steps = (("apt-get", "--quiet", "update"), ("apt-get", *_APT, *self._recipe.packages))
            for argv in steps:
                code, lines = self._said(instance, argv, _NONINTERACTIVE)
                if code != 0:
                    raise self._with_log(debian_output.failure("apt-get", code, lines, self._engine.images.root))
            self._said(instance, ("/bin/sh", "-c", _TIDY), {})

    def _run_commands(self, instance: "Instance") -> None:
        commands = self._recipe.commands
        with self._running(instance), self._without_services(instance):
            for number, command in enumerate(commands):
                self._progress("commands", number, len(commands))
                argv = ("/bin/sh", "-c", command) if isinstance(command, str) else command
                code, lines = self._said(instance, argv, {"DEBIAN_FRONTEND": "noninteractive", **self._recipe.env})
                if code != 0:
                    shown = command if isinstance(command, str) else " ".join(command)
                    said = "; ".join(line.strip() for line in lines[-_SHOWN_LINES:])
                    sentence = f"the command {shown!r} of {self._name} failed ({code})"
                    raise self._with_log(Host(f"{sentence}: {said}" if said else sentence, command=shown, status=code))

    @contextlib.contextmanager
    def _running(self, instance: "Instance") -> Iterator[None]:
        instance.start()
        try:
            if self._recipe.is_networked:
                self._resolve(instance)
            yield
        finally:
            instance.stop(force=True)

    def _resolve(self, instance: "Instance") -> None:
        """Name servers, where those are the business of a resolver that does not run now."""
        record = _record_of(self._engine, instance)
        on = tuple(networks.load(self._engine.store, nic.on) for nic in record.config.nics.values() if nic.on)
        text = "".join(f"nameserver {server}\n" for server in identity.name_servers(record, on))
        instance.exec(["/bin/sh", "-c", _STUB], input=text.encode())

    @contextlib.contextmanager
    def _without_services(self, instance: "Instance") -> Iterator[None]:
        """No package of Debian's starts its service, unless the image says itself what may be started."""
        is_ours = instance.exec(["/bin/sh", "-c", _NO_SERVICES]).code == 0
        yield
        if is_ours:
            instance.exec(["/bin/sh", "-c", f"rm -f {_POLICY}"])

    def _said(self, instance: "Instance", argv: tuple[str, ...], env: dict[str, str]) -> tuple[int, tuple[str, ...]]:
        """Run a command inside; its exit code and the lines that it wrote, which also go to the log."""
        try:
            done = instance.exec(argv, env=env, cwd=self._recipe.workdir or "/")
            code, output = done.code, done.stdout + done.stderr
        except (NotFound, Invalid) as problem:
            raise type(problem)(f"a command of {self._name}: {problem.sentence}", hint=problem.hint) from problem
        with open(self._log, "ab") as log:
            log.write(f"# {' '.join(argv)}\n".encode() + output)
        return code, tuple(output.decode(errors="replace").splitlines())

    def _with_log(self, problem: CloisonError) -> CloisonError:
        problem.hint = problem.hint or f"everything that was said is in {self._log}"
        return problem

    # --- the image ---------------------------------------------------------------------------------------

    def _published(self, instance: "Instance") -> "Image":
        from cloison.images.deriving import derive
        from cloison.images.merging import difference

        record = _record_of(self._engine, instance)
        with self._engine.pools.directories(record) as layers:
            _forget(layers.upper, identity.remembered(self._engine, record))
            return derive(self._engine.images, self._base, difference(layers.upper), self._facts())

    def _facts(self) -> Facts:
        base, recipe = self._base, self._recipe
        known = {name: getattr(base, name) for name in Facts.__struct_fields__}
        variables = dict(one.partition("=")[::2] for one in base.env) | recipe.env
        is_own = bool(recipe.command)
        changed = {
            "names": (self._name,),
            "command": recipe.command or base.command,
            "entrypoint": () if is_own else base.entrypoint,
            "env": tuple(f"{name}={value}" for name, value in variables.items()),
            "workdir": recipe.workdir or base.workdir,
            "user": recipe.user or base.user,
            "is_system": base.is_system and (not is_own or recipe.command == base.command),
            "source": f"recipe over {base.names[0] if base.names else base.digest}",
            "properties": {PROPERTY: self._key},
        }
        return Facts(**(known | changed))


def _forget(upper: str, texts: dict[str, str]) -> None:
    """Remove the files that say who the instance is, where they are as cloison wrote them."""
    for path, text in texts.items():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            with open(f"{upper}/{path}", encoding="utf-8") as file:
                is_ours = file.read(len(text) + 1) == text
            if is_ours:
                os.unlink(f"{upper}/{path}")


def _hex(image: "Image") -> str:
    return image.digest.removeprefix("sha256:")


def _record_of(engine: "Engine", instance: "Instance") -> Record:
    return records.load(engine.store, instance.id)


def _tree_of(engine: "Engine", instance: "Instance") -> Tree:
    return tree_of(_record_of(engine, instance))
