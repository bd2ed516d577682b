"""Podman, with its storage and its state below our directory, no network, and runc where crun refuses the host."""

import contextlib

from bench.ground import CGROUPS, Ground
from bench.processes import Failed, found, output

_prepared: set[str] = set()


def command(ground: Ground) -> list[str]:
    """podman with its global options. Raises Failed where it is not installed."""
    home = ground.directory("podman")
    words = [found("podman"), "--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp"]
    words += ["--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=overlay"]
    if (CGROUPS / "unified").exists():
        words += ["--runtime", found("runc")]
    if ground.mark not in _prepared:
        _prepared.add(ground.mark)
        ground.later.callback(_end, words, f"{home}/root/overlay")
    return words


def run_words(ground: Ground) -> list[str]:
    """`run` with the options that all our containers have; left alone, podman raises limits that nobody may raise."""
    limits = [f"--ulimit={name}=1024:1024" for name in ("nofile", "nproc")]
    return ["run", "--network=none", *limits, "--log-driver=none", f"--hostname={ground.mark[:30]}"]


def _end(words: list[str], mounted: str) -> None:
    """Remove its containers, and the mount over itself that its storage keeps."""
    with contextlib.suppress(Failed):
        output([*words, "rm", "--all", "--force", "--time=0"])
    with contextlib.suppress(Failed):
        output([found("umount"), "--quiet", mounted])
