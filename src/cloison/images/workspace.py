"""Work in progress: directories below `images/tmp` that count as nothing until they are renamed away.

    tmp/<random>/lock      an flock held by who works there, and by the programs that work for it
    tmp/<random>/rootfs/   the root filesystem in the making
    tmp/<random>/log       what the building programs said
    tmp/<random>/uses/     names of layers of the store that are to stay, as long as the lock is held
    tmp/<random>.away      what is being deleted

What is not locked is rubbish: its owner was killed. A directory is made and locked under the store's lock, and
rubbish is looked for under the same, so that nobody takes a directory for rubbish before its owner has locked it.
Some rubbish is of use until it is deleted: see `remains`.
"""

import contextlib
import os
from collections.abc import Iterator

import msgspec

from cloison.kernel.locks import exclusive

AWAY = ".away"  # ends the name of what is about to be deleted


class Workspace(msgspec.Struct, frozen=True):
    """A directory to work in; its lock's descriptor is handed on to the programs that work in it."""

    path: str
    lock_fd: int

    @property
    def store_root(self) -> str:
        """The store that it belongs to."""
        return os.path.dirname(os.path.dirname(self.path))

    @property
    def rootfs(self) -> str:
        """Where the root filesystem is built."""
        return f"{self.path}/rootfs"

    @property
    def log(self) -> str:
        """Where the output of the building programs goes."""
        return f"{self.path}/log"


@contextlib.contextmanager
def workspace(tmp_dir: str, store_lock: str) -> Iterator[Workspace]:
    """An empty workspace below `tmp_dir`, with an empty `rootfs`; removed with all that is left in it at the end."""
    with contextlib.ExitStack() as held:
        with exclusive(store_lock, timeout_s=None):
            path = f"{tmp_dir}/{os.urandom(8).hex()}"
            os.mkdir(path, 0o700)
            lock_fd = held.enter_context(exclusive(f"{path}/lock"))
        # Called while the lock is still held: nobody else tries to remove the same files meanwhile.
        held.callback(remove_tree, path)
        os.mkdir(f"{path}/rootfs")
        os.chmod(f"{path}/rootfs", 0o755)
        yield Workspace(path, lock_fd)


def rubbish(tmp_dir: str) -> tuple[str, ...]:
    """The directories below `tmp_dir` that nobody works in. The caller holds the store's lock."""
    with contextlib.suppress(FileNotFoundError):
        return tuple(entry.path for entry in sorted(os.scandir(tmp_dir), key=lambda e: e.name) if _is_left(entry.path))
    return ()


def put_away(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Rename rubbish that is about to be deleted, so that nobody takes anything out of it any more; the new names. The
    caller holds the store's lock, and deletes it without."""
    for path in paths:
        if not path.endswith(AWAY):
            os.rename(path, f"{path}{AWAY}")
    return tuple(f"{path.removesuffix(AWAY)}{AWAY}" for path in paths)


def uses(tmp_dir: str) -> frozenset[str]:
    """The names of the layers that somebody at work needs. The caller holds the store's lock."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(tmp_dir):
            if os.path.isdir(f"{entry.path}/uses") and not _is_left(entry.path):
                found.update(os.listdir(f"{entry.path}/uses"))
    return frozenset(found)


def _is_left(path: str) -> bool:
    if not os.path.lexists(f"{path}/lock"):
        return True
    try:
        with exclusive(f"{path}/lock"):
            return True
    except BlockingIOError:
        return False


def remove_tree(path: str) -> None:
    """Remove `path` and everything below it; symbolic links are not followed. What is gone already is no error."""
    import shutil

    if os.path.islink(path) or not os.path.isdir(path):  # what is kept beside a layer
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    shutil.rmtree(path, onerror=_unless_gone)


def _unless_gone(_function: object, _path: str, problem: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(problem[1], FileNotFoundError):
        raise problem[1]
