"""What is built once and kept outside the checkout, so that another one finds it: in $CLOISON_VM_CACHE, else in
/var/cache/cloison/vm.

Each thing is a directory, named after a hash of its recipe: a changed recipe builds its own. It is made in a directory
beside and renamed, while `lock` is held. What nobody has used for a month is removed when something new is built.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

UNUSED_S: Final = 30 * 86400


class Failed(Exception):
    """A program that builds an image failed; the text is what it said."""


def directory() -> Path:
    """Where everything is kept."""
    return Path(os.environ.get("CLOISON_VM_CACHE") or "/var/cache/cloison/vm")


def obtain(name: str, build: Callable[[Path], None]) -> Path:
    """The directory `name`, filled by `build` where it is missing. Raises what that raises."""
    place = directory() / name
    if not place.is_dir():
        directory().mkdir(parents=True, exist_ok=True)
        with _alone(directory() / "lock"):
            if not place.is_dir():
                _forget_unused()
                _fill(place, build)
    os.utime(place)
    return place


def make_disk(content: Path, disk: Path, label: str, size_bytes: int, features: str, extended: str) -> None:
    """A sparse image of an ext4 with what is in `content`, its owners included. Raises Failed."""
    with open(disk, "wb") as file:
        file.truncate(size_bytes)
    options = ["-O", features, "-E", f"{extended},lazy_itable_init=1", "-m", "0", "-L", label]
    run(["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", str(content), str(disk)])


def run(command: Sequence[str]) -> None:
    """Run a program; what it says is only worth reading where it fails. Raises Failed."""
    said = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if said.returncode:
        raise Failed(f"{' '.join(command)}\n{said.stdout}")


def _fill(place: Path, build: Callable[[Path], None]) -> None:
    print(f"cloison: building {place}, once", file=sys.stderr, flush=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=place.parent))
    try:
        build(new)
        new.chmod(0o755)
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_unused() -> None:
    """Called with the lock, so whatever a build has left unfinished is nobody's."""
    for path in directory().iterdir():
        is_old = path.is_dir() and time.time() - path.stat().st_mtime > UNUSED_S
        if is_old or path.name.startswith("new-"):
            shutil.rmtree(path)
