"""The disk of a volume: mounted once on the host, and shown from there in as many instances as one likes.

    <at>          where it is mounted, from the first time that somebody needs it
    <at>.lock     flock(2): held by who mounts it, or has it unmounted for something that needs that

Two loop devices of one file would be two file systems at work on it, and destroy it; so all agree on one place. What an
instance has been given stays, whoever unmounts it here. Source: mount(8), umount(8).
"""

import contextlib
import os
from collections.abc import Iterator

from cloison.base.errors import Busy, Host
from cloison.kernel import locks
from cloison.spec.driver import RootFiles
from cloison.storage.programs import Programs

_PATIENCE_S = 10.0


def show(files: RootFiles, at: str) -> None:
    """Have the disk `files.image` mounted. Raises Busy while somebody needs it unmounted, and Host."""
    with _locked(at):
        if os.path.ismount(at):
            return
        os.makedirs(at, mode=0o700, exist_ok=True)
        loop = () if files.image.startswith("/dev/") else ("loop",)
        options = ",".join((*loop, "nodev", "noatime", *files.options))
        try:
            Programs("mount", at).run("mount", "-t", "ext4", "-o", options, files.image, at)
        except BaseException:
            os.rmdir(at)
            raise


@contextlib.contextmanager
def hidden(at: str, *, is_for_good: bool = False) -> Iterator[None]:
    """It is not mounted on the host meanwhile, and nobody does that; `is_for_good`: nothing is left of it. Raises Busy
    where somebody of the host is in it."""
    with _locked(at):
        if os.path.ismount(at):
            try:
                Programs("mount", at).run("umount", at)
            except Host as problem:
                raise Busy(
                    f"{at} cannot be unmounted: somebody on this host uses what is in it",
                    hint=f"`fuser -vm {at}` says who",
                ) from problem
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(at)
        yield
        if is_for_good:
            os.unlink(f"{at}.lock")
            with contextlib.suppress(OSError):  # others have theirs there
                os.rmdir(os.path.dirname(at))


@contextlib.contextmanager
def _locked(at: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        while True:
            os.makedirs(os.path.dirname(at), mode=0o700, exist_ok=True)
            try:
                stack.enter_context(locks.exclusive(f"{at}.lock", timeout_s=_PATIENCE_S))
                break
            except FileNotFoundError:  # the last volume but this one has just been removed
                continue
            except BlockingIOError:
                raise Busy(
                    "somebody changes or copies the disk of this volume just now", hint="wait for that, and try again"
                ) from None
        yield
