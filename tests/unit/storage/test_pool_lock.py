"""The lock of a pool: who removes it on the way out leaves nobody with a lock that nobody else has."""

import contextlib
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cloison.base.errors import Busy
from cloison.storage.pool_lock import PoolLock

Take = Callable[[PoolLock], AbstractContextManager[None]]


@pytest.mark.parametrize(
    "take", [lambda lock: lock.together(), lambda lock: lock.alone(timeout_s=10)], ids=["together", "alone"]
)
def test_who_waited_for_a_pool_that_goes_holds_the_next_ones_lock(tmp_path: Path, take: Take) -> None:
    place = tmp_path / "pool"
    lock, waiting = PoolLock(str(place)), threading.Event()
    held, done = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        with take(PoolLock(str(place))):
            held.set()
            done.wait(10)

    waiter = threading.Thread(target=wait)
    with lock.alone():
        waiter.start()
        waiting.wait(10)
        while not _is_open(place / "lock", 2):  # it has the old file open
            pass
        lock.remove()
        assert not place.exists()
    assert held.wait(10)
    try:
        with pytest.raises(Busy), lock.alone():
            pass
    finally:
        done.set()
        waiter.join()


def _is_open(path: Path, times: int) -> bool:
    """Whether this process has a file open so many times."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found.count(str(path)) >= times


def test_a_pool_with_something_in_it_keeps_its_directory(tmp_path: Path) -> None:
    lock = PoolLock(str(tmp_path / "pool"))
    with lock.alone():
        (tmp_path / "pool/tree").touch()
        lock.remove()
    assert os.listdir(tmp_path / "pool") == ["tree"]
