"""Podman, with its storage and its state below our directory, no network, and runc where crun refuses the host."""

import contextlib
import time
from pathlib import Path

from bench.ground import CGROUPS, Ground, processes
from bench.processes import Failed, found, output

PATIENCE_S = 10
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
        ground.later.callback(_end, words, home)
    return words


def run_words(ground: Ground) -> list[str]:
    """`run` with the options that all our containers have; left alone, podman raises limits that nobody may raise."""
    limits = [f"--ulimit={name}=1024:1024" for name in ("nofile", "nproc")]
    return ["run", "--network=none", *limits, "--log-driver=none", f"--hostname={ground.mark[:30]}"]


def _end(words: list[str], home: Path) -> None:
    """Remove its containers, wait for what cleans up after them, and remove the mount that its storage keeps."""
    with contextlib.suppress(Failed):
        output([*words, "rm", "--all", "--force", "--time=0"])
    deadline = time.monotonic() + PATIENCE_S
    while processes(lambda line: str(home) in line) and time.monotonic() < deadline:
        time.sleep(0.1)
    with contextlib.suppress(Failed):
        output([found("umount"), "--quiet", f"{home}/root/overlay"])
