"""Images out of an archive and out of a registry: whole processes, beside those of the neighbours.

Each has a store of its own, empty of this image before each round, on the same file system; the archive is in memory.
The neighbours leave it to the kernel when what they wrote comes to the disk. Ours waits for it before the image counts.
"""

import shutil
from collections.abc import Callable, Iterator

import cloison
from bench import archives, docker, podman
from bench.ground import Ground
from bench.processes import ENVIRONMENT, Failed, found, output, timed
from bench.rows.command import program
from bench.series import Measure, Row, alternate, compared, skipped

IMPORT = "import of an image archive"
PULL = "pull of an image from a registry on loopback"
ROUNDS = 6


def rows(ground: Ground) -> Iterator[Row]:
    """Of Debian 12, or of busybox in a quick run."""
    try:
        image = ground.engine.image("busybox" if ground.is_quick else "debian/12")
    except cloison.CloisonError as problem:
        yield skipped(IMPORT, "docker load", str(problem))
        return
    archive = str(archives.archive(ground, image))
    note = f"{image.names[0]}, {image.size_bytes / 2**20:.0f} MiB"
    yield from _compared(ground, IMPORT, note, _ours(ground, "import", archive), LOADS, archive)
    try:
        reference = archives.repository(ground, image)
    except Failed as problem:
        yield skipped(PULL, "docker pull", str(problem))
        return
    yield from _compared(ground, PULL, note, _ours(ground, "pull", f"docker://{reference}"), PULLS, reference)


Prepare = Callable[[Ground, str], Measure]


def _compared(
    ground: Ground, what: str, note: str, ours: Measure, peers: dict[str, Prepare], source: str
) -> Iterator[Row]:
    for name, prepare in peers.items():
        try:
            pair = alternate(ours, prepare(ground, source), ground.rounds(ROUNDS))
        except Failed as problem:
            yield skipped(what, name, str(problem))
            continue
        yield compared(what, name, pair, at_most=1.0, note=note)


def _ours(ground: Ground, verb: str, source: str) -> Measure:
    """In an installation of its own: that of the bench has the image already."""
    root = ground.directory(f"images-{verb}")
    environment = ENVIRONMENT | {"CLOISON_ROOT": str(root)}
    head = [*program(), "image", verb]

    def measure() -> float:
        took = timed([*head, source], environment)
        output([*program(), "image", "prune"], environment)
        return took

    return measure


def _docker(ground: Ground, *words: str) -> Measure:
    client = docker.client(ground)

    def measure() -> float:
        took = timed([*client, *words])
        output([*client, "image", "rm", words[-1] if words[0] == "pull" else archives.TAG])
        return took

    return measure


def _podman(ground: Ground, *words: str) -> Measure:
    head = podman.command(ground)

    def measure() -> float:
        took = timed([*head, *words])
        output([*head, "image", "rm", "--all", "--force"])
        return took

    return measure


def _skopeo(ground: Ground, source: str, *options: str) -> Measure:
    """Two programs, as there is no one that does both: into a layout, and from there into a bundle."""
    home = ground.directory("umoci")
    copy = [found("skopeo"), "--insecure-policy", "copy", "--quiet", *options, source, f"oci:{home}/layout:1"]
    unpack = [found("umoci"), "unpack", "--image", f"{home}/layout:1", f"{home}/bundle"]

    def measure() -> float:
        took = timed(copy) + timed(unpack)
        for name in ("layout", "bundle"):
            shutil.rmtree(home / name)
        return took

    return measure


LOADS: dict[str, Prepare] = {
    "docker load": lambda ground, archive: _docker(ground, "load", "--quiet", "--input", archive),
    "podman load": lambda ground, archive: _podman(ground, "load", "--quiet", "--input", archive),
    "skopeo, umoci": lambda ground, archive: _skopeo(ground, f"docker-archive:{archive}"),
}
PULLS: dict[str, Prepare] = {
    "docker pull": lambda ground, reference: _docker(ground, "pull", "--quiet", reference),
    "podman pull": lambda ground, reference: _podman(ground, "pull", "--quiet", "--tls-verify=false", reference),
    "skopeo, umoci": lambda ground, reference: _skopeo(ground, f"docker://{reference}", "--src-tls-verify=false"),
}
