"""The lock of a pool: many may make trees at once, and nobody deletes any meanwhile.

<directory>/lock       flock(2): shared by who makes trees, exclusive for who deletes what nobody mentions
<directory>/pending    somebody wanted to delete, and could not have the pool for himself: the last maker does it
"""

import contextlib
import os
from collections.abc import Iterator

from cloison.base.errors import Busy
from cloison.kernel import locks


class PoolLock:
    """The lock in `directory`, which is made where it is missing."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._pending = f"{directory}/pending"

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Hold it with others. Waits for who has it alone: that is for a moment."""
        with locks.shared_in(self._directory, mode=0o700):
            yield

    @contextlib.contextmanager
    def alone(self, *, timeout_s: float = 0.0) -> Iterator[None]:
        """Hold it alone. Raises Busy."""
        try:
            with locks.exclusive_in(self._directory, timeout_s=timeout_s, mode=0o700):
                yield
        except BlockingIOError:
            name = os.path.basename(self._directory)
            raise Busy(
                f"somebody is making an instance or a snapshot in the storage pool {name}",
                hint="wait for it, or try again",
            ) from None

    @property
    def is_pending(self) -> bool:
        """Whether somebody has left something to delete."""
        return os.path.exists(self._pending)

    def note(self, *, is_pending: bool) -> None:
        """Leave something to delete, or see to it now."""
        if not is_pending:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._pending)
            return
        with open(self._pending, "wb"):
            pass

    def remove(self) -> None:
        """Remove the directory, where nothing is left in it but this. Only by who holds it alone: whoever has waited
        for it makes it again."""
        for name in ("pending", "lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._directory}/{name}")
        with contextlib.suppress(OSError):
            os.rmdir(self._directory)
