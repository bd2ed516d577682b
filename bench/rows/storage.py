"""Create and delete from a cached image: the time must not depend on the size of the image."""

import os
from collections.abc import Iterator
from time import perf_counter_ns

import cloison
from bench.ground import ALONE, Ground
from bench.series import Measure, Row, alternate, compared, skipped
from cloison.images import Facts, Image, layers
from cloison.images.workspace import workspace

WHAT = "create and delete from a cached image"
BIG = "bench-1gib"
BIG_BYTES = 1 << 30
FILES = 16
AT_MOST = 1.25
ROUNDS = 60


def rows(ground: Ground) -> Iterator[Row]:
    """The larger ones beside busybox; ours and theirs are both cloison."""
    if ground.is_quick:
        return
    small = _create_and_delete(ground, "busybox")
    for name, image in (("debian/12", _debian(ground)), ("1 GiB", _big(ground))):
        if isinstance(image, str):
            yield skipped(f"{WHAT}: {name}", "busybox", image)
            continue
        large = _create_and_delete(ground, image.digest)
        pair = alternate(large, small, ground.rounds(ROUNDS))
        bar = f"independent of size: at most {AT_MOST:g} x"
        note = f"{image.size_bytes / 2**20:.0f} MiB"
        yield compared(f"{WHAT}: {name}", "busybox", pair, at_most=AT_MOST, bar=bar, note=note)


def _create_and_delete(ground: Ground, image: str) -> Measure:
    def measure() -> float:
        began = perf_counter_ns()
        ground.engine.create(image, "from-image", config=(ALONE,)).delete()
        return (perf_counter_ns() - began) / 1e6

    return measure


def _debian(ground: Ground) -> Image | str:
    try:
        return ground.engine.image("debian/12")
    except cloison.CloisonError as problem:
        return str(problem)


def _big(ground: Ground) -> Image | str:
    """An image of a gigabyte, made once and kept with the others."""
    store = ground.engine.images
    known = store.known(BIG)
    if known is not None:
        return known
    store.prepare()
    with workspace(store.tmp_dir, store.lock_path) as work:
        for number in range(FILES):
            with open(f"{work.rootfs}/{number}", "wb") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, BIG_BYTES // FILES)
                except OSError as problem:
                    return f"no room for an image of 1 GiB: {problem.strerror}"
        layer = layers.measure(work.rootfs, lambda _done: None)
        layers.settle(work.rootfs)
        return store.add(work.rootfs, layer, _facts())


def _facts() -> Facts:
    return Facts(
        names=(BIG,),
        os="none",
        release="",
        architecture=os.uname().machine,
        command=("/init",),
        env=(),
        stop_signal="SIGTERM",
        template="",
        is_system=False,
    )
