"""Instances, snapshots and copies, which no size may slow down: at 100 MB and at 2 GB, on overlay and on btrfs.

Whole processes, beside an interpreter that does nothing, and large beside small. LXC's tools copy a directory file by
file, so they are shown with the small one, and with overlay where they can.
"""

import os
from collections.abc import Callable, Iterator
from time import perf_counter_ns

import cloison
from bench import lxc
from bench.ground import ALONE, Ground
from bench.processes import Failed, found, output, timed
from bench.rows.command import beyond_python, cloison_command
from bench.series import Measure, Row, alternate, compared, skipped
from cloison.images import Facts, Image, layers
from cloison.images.workspace import workspace

CREATE_AND_DELETE = "library: create and delete"
SMALL, LARGE = 100 << 20, 2 << 30
FILE_BYTES = 1 << 20
AT_MOST = 1.25
MORE_MS = 50.0
ROUNDS = 20
POOL_BYTES = "12G"


def rows(ground: Ground) -> Iterator[Row]:
    """In a quick run on overlay alone, with next to nothing in it."""
    sizes = (1 << 20, 8 << 20) if ground.is_quick else (SMALL, LARGE)
    ground.later.callback(_forget_networks, ground)
    for driver in ("overlay",) if ground.is_quick else ("overlay", "btrfs"):
        try:
            pool = _pool(ground, driver)
            made = {size: _Subject(ground, pool, size) for size in sizes}
        except (cloison.CloisonError, OSError) as problem:
            yield skipped(f"create, snapshot, copy on {driver}", "", str(problem))
            continue
        for what, choose in OPERATIONS.items():
            small, large = (choose(made[size]) for size in sizes)
            name = f"cloison {what} of {_shown(sizes[1])} on {driver}, whole process"
            yield beyond_python(name, large, ground.rounds(ROUNDS), at_most_ms=MORE_MS)
            pair = alternate(large, small, ground.rounds(ROUNDS), rest_s=0.05)
            yield compared(name, _shown(sizes[0]), pair, at_most=AT_MOST, bar=f"independent: at most {AT_MOST:g} x")
            if driver == "overlay" and not ground.is_quick:
                yield from _beside_lxc(ground, what, small, sizes[0])
    yield _create_and_delete(ground, sizes[1])


def _forget_networks(ground: Ground) -> None:
    """An instance that is created without a word about nics is on a network, which is made for it."""
    for network in ground.engine.networks.all():
        ground.engine.networks.delete(network.name)


def _shown(size: int) -> str:
    return f"{size >> 30} GB" if size >= 1 << 30 else f"{size >> 20} MB"


def _pool(ground: Ground, driver: str) -> str:
    """The default pool is overlay; another one is made, and removed at the end."""
    if driver == "overlay":
        return "default"
    name = f"bench-{driver}"
    if name in [pool.name for pool in ground.engine.pools.all()]:  # of a run that was killed
        ground.engine.pools.remove(name)
    ground.engine.pools.create(name, driver, size=POOL_BYTES)
    ground.later.callback(ground.engine.pools.remove, name)
    return name


class _Subject:
    """An image of `size` bytes, and an instance that has as many to itself."""

    def __init__(self, ground: Ground, pool: str, size: int) -> None:
        self._ground = ground
        self._pool = pool
        self._image = _image(ground, size).digest.removeprefix("sha256:")
        self._name = f"base-{pool}-{size >> 20}"
        self._instance = ground.engine.create("busybox", self._name, config=(ALONE,), storage=pool)
        ground.later.callback(self._instance.delete, force=True)
        tree = self._instance.tree
        with ground.engine.pools.driver(pool).opened(tree) as root:
            os.mkdir("data", dir_fd=root)
            _fill(f"/proc/self/fd/{root}/data", size)

    def create(self) -> Measure:
        words = ("create", self._image, "made", *(() if self._pool == "default" else ("--storage", self._pool)))
        return self._measure(words, lambda: self._ground.engine.get("made").delete())

    def copy(self) -> Measure:
        return self._measure(("copy", self._name, "made"), lambda: self._ground.engine.get("made").delete())

    def snapshot(self) -> Measure:
        words = ("snapshot", "create", self._name, "kept")
        return self._measure(words, lambda: self._instance.snapshots.delete("kept"))

    def _measure(self, words: tuple[str, ...], undo: Callable[[], object]) -> Measure:
        command = cloison_command(self._ground, *words)

        def measure() -> float:
            took = command()
            undo()
            return took

        return measure


OPERATIONS: dict[str, Callable[[_Subject], Measure]] = {
    "create": _Subject.create,
    "snapshot create": _Subject.snapshot,
    "copy": _Subject.copy,
}


def _create_and_delete(ground: Ground, size: int) -> Row:
    """In this process, without what a process costs: the bar is on the difference that an image's size makes."""

    def measured(image: str) -> Measure:
        def measure() -> float:
            began = perf_counter_ns()
            ground.engine.create(image, "from-image", config=(ALONE,)).delete()
            return (perf_counter_ns() - began) / 1e6

        return measure

    pair = alternate(measured(_image(ground, size).digest), measured("busybox"), ground.rounds(60))
    bar = f"independent: at most {AT_MOST:g} x"
    return compared(CREATE_AND_DELETE, "busybox", pair, at_most=AT_MOST, bar=bar, note=_shown(size))


# --- LXC -------------------------------------------------------------------------------------------------------------


def _beside_lxc(ground: Ground, what: str, ours: Measure, size: int) -> Iterator[Row]:
    peers = {
        "copy": ("lxc-copy", "lxc-copy -s"),
        "snapshot create": ("lxc-snapshot",),
    }
    for peer in peers.get(what, ()):
        try:
            theirs = _lxc(ground, peer, size)
            pair = alternate(ours, theirs, ground.rounds(ROUNDS // 4))
        except Failed as problem:
            yield skipped(f"cloison {what} of {_shown(size)} on overlay", peer, str(problem))
            continue
        yield compared(f"cloison {what} of {_shown(size)} on overlay", peer, pair)


def _lxc(ground: Ground, peer: str, size: int) -> Measure:
    name = f"{peer.replace(' ', '')}-{size >> 20}"
    home = ground.directory(f"lxc/{ground.mark}-{name}")
    rootfs = home / "rootfs"
    output([found("cp"), "-a", str(ground.rootfs), str(rootfs)])
    (rootfs / "data").mkdir()
    _fill(str(rootfs / "data"), size)
    full = lxc.configure(ground, name, rootfs)
    config = (home / "config").read_text()  # an overlay takes no options of a directory
    (home / "config").write_text(config.replace("lxc.rootfs.options = idmap=container\n", ""))
    if peer == "lxc-snapshot":
        command, undo = lxc.command("lxc-snapshot", ground, full), ["-d", "snap0"]
        undo = lxc.command("lxc-snapshot", ground, full, *undo)
    else:
        more = ("-s", "-B", "overlay") if peer.endswith("-s") else ()
        command = lxc.command("lxc-copy", ground, full, "-N", f"{full}-2", *more)
        undo = lxc.command("lxc-destroy", ground, f"{full}-2")

    def measure() -> float:
        took = timed(command, lxc.ENVIRONMENT | {"PATH": f"{lxc.ENVIRONMENT['PATH']}:/usr/bin:/bin"})
        output(undo, lxc.ENVIRONMENT)
        return took

    return measure


# --- what is in it ---------------------------------------------------------------------------------------------------


def _fill(directory: str, size: int) -> None:
    """Files of a megabyte; their blocks are taken, and not written."""
    for number in range(size // FILE_BYTES):
        with open(f"{directory}/{number}", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, FILE_BYTES)


def _image(ground: Ground, size: int) -> Image:
    """An image of this size, made once and kept with the others."""
    name = f"bench-{size >> 20}mib"
    store = ground.engine.images
    known = store.known(name)
    if known is not None:
        return known
    store.prepare()
    with workspace(store.tmp_dir, store.lock_path) as work:
        _fill(work.rootfs, size)
        layer = layers.measure(work.rootfs, lambda _done: None)
        layers.settle(work.rootfs)
        return store.add(work.rootfs, layer, _facts(name))


def _facts(name: str) -> Facts:
    return Facts(
        names=(name,),
        os="none",
        release="",
        architecture=os.uname().machine,
        command=("/init",),
        env=(),
        stop_signal="SIGTERM",
        template="",
        is_system=False,
    )
