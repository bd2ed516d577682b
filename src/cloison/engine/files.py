"""The files of one instance, looked at and changed from outside: `Instance.files`.

    web.files.write("/etc/motd", b"hello", mode=0o644)
    web.files.push("site", "/srv/", recursive=True)

It is the same whether the instance runs (what is mounted inside is then seen, too) or not: paths, links and owners are
those inside. Of one that does not run, the lock is held meanwhile: nobody starts it; its volumes are seen in it, and
what else is mounted in it is not there. Of one that runs nothing is held: when it ends on the way, that is an error,
and the file that was to be replaced is as it was.
"""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from cloison.base.errors import (
    CloisonError,
    Conflict,
    Denied,
    Exists,
    Invalid,
    Kernel,
    NoSpace,
    NotFound,
    TimedOut,
    WrongState,
)
from cloison.base.ids import RANGE
from cloison.engine.file_copies import Copied, Copy, Owner, Progress
from cloison.spec.driver import State
from cloison.spec.files import Door, Entry, FileKind, entry_of, kind_of

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance

MOST_READ = 64 << 20
_KEPT = (State.RUNNING, State.FROZEN, State.STOPPING)
_Command = Callable[[str], AbstractContextManager[None]]


class Files:
    """The files of an instance. Each call goes there anew; within `with files:` all go the way that was gone first.

    Paths are absolute ones inside; ids are those inside. All raise NotFound, Invalid, Denied, NoSpace, and WrongState
    when the instance is starting, or ends meanwhile."""

    def __init__(self, instance: "Instance", engine: "Engine", command: _Command) -> None:
        self._instance = instance
        self._engine = engine
        self._command = command
        self._door: Door | None = None
        self._stack = contextlib.ExitStack()
        self._absent: dict[str, tuple[str, str]] = {}  # paths: which mount, and of what

    def __enter__(self) -> "Files":
        self._door = self._stack.enter_context(self._opened("look at its files"))
        return self

    def __exit__(self, *_: object) -> None:
        self._door = None
        self._stack.close()

    # --- look --------------------------------------------------------------------------------------------

    def stat(self, path: str, *, follow: bool = True) -> Entry:
        """What there is; with `follow` where a link leads to."""
        with self._at(path) as door:
            return entry_of(door.stat(path, follow=follow))

    def list(self, path: str) -> tuple[Entry, ...]:
        """The entries of a directory, by name; of what is none, itself."""
        with self._at(path) as door:
            found = entry_of(door.stat(path))
            if found.kind is not FileKind.DIRECTORY:
                return (found,)
            return tuple(map(entry_of, door.list(path)))

    def read(self, path: str) -> bytes:
        """A file of at most 64 MiB."""
        with self._at(path) as door:
            fd, _found = door.open(path)
            with os.fdopen(fd, "rb") as file:
                data = file.read(MOST_READ + 1)
        if len(data) > MOST_READ:
            raise Invalid(f"{self._named(path)} is larger than {MOST_READ} bytes", hint="pull it instead")
        return data

    # --- change ------------------------------------------------------------------------------------------

    def write(
        self,
        path: str,
        data: bytes,
        *,
        uid: int | None = None,
        gid: int | None = None,
        mode: int | None = None,
        parents: bool = False,
    ) -> None:
        """Make `data` the file, whole or not at all; a new one is root's, 0644, unless it is said otherwise."""
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            self.push_from(file.fileno(), path, uid=uid, gid=gid, mode=mode or None, parents=parents, is_plain=True)

    def mkdir(self, path: str, *, uid: int = 0, gid: int = 0, mode: int = 0o755, parents: bool = False) -> bool:
        """Make a directory; one that is there stays as it is. Whether it is new."""
        self._expect_ids(uid, gid)
        with self._at(path) as door:
            return door.mkdir(path, uid=uid, gid=gid, mode=mode, parents=parents)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove what is under a name: a link, and not what it leads to; of other mounts nothing."""
        with self._at(path) as door:
            door.remove(path, recursive=recursive)

    def push(
        self,
        source: str,
        path: str,
        *,
        recursive: bool = False,
        parents: bool = False,
        uid: int | None = None,
        gid: int | None = None,
        mode: int | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file of the host, or with `recursive` a directory, into the instance: to `path`, or into it where that
        is a directory, or ends in a slash. `mode` is that of files. A file that is there keeps its owner and mode."""
        self._expect_ids(uid, gid)
        owner = Owner(uid, gid, mode)
        with _host_file(source) as (fd, mode_there), self._at(path) as door:
            is_directory = stat.S_ISDIR(mode_there)
            if is_directory and not recursive:
                raise Invalid(f"{source} is a directory", hint="use -r to copy it with all that is in it")
            target = self._target(door, path, os.path.basename(os.path.abspath(source)))
            if parents:
                self._make_parents(door, target)
            size = os.fstat(fd).st_size if stat.S_ISREG(mode_there) else None
            copy = Copy(door, progress, size)
            if is_directory:
                copy.push_tree(fd, target, owner)
            else:
                copy.push_file(fd, target, owner)
            return copy.copied

    def push_from(
        self,
        fd: int,
        path: str,
        *,
        parents: bool = False,
        uid: int | None = None,
        gid: int | None = None,
        mode: int | None = None,
        is_plain: bool = False,
        progress: Progress | None = None,
    ) -> Copied:
        """What can be read from a descriptor, up to its end, becomes the file `path`, mode 0644 where that is new.
        `is_plain`: nothing is taken from the descriptor's own file, such as its mode."""
        self._expect_ids(uid, gid)
        with self._at(path) as door:
            if parents:
                self._make_parents(door, path)
            if is_plain and mode is None and not _is_there(door, path):
                mode = 0o644
            copy = Copy(door, progress)
            copy.push_file(fd, path, Owner(uid, gid, mode))
            return copy.copied

    def pull(
        self,
        path: str,
        target: str,
        *,
        recursive: bool = False,
        parents: bool = False,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file of the instance, or with `recursive` a directory, onto the host: to `target`, or into it where
        that is a directory, or ends in a slash. It is the caller's there, with the mode and time that it has inside,
        but that it lets nobody become its owner (setuid)."""
        with self._at(path) as door:
            found = door.stat(path)
            is_directory = kind_of(found.mode) is FileKind.DIRECTORY
            if is_directory and not recursive:
                raise Invalid(f"{self._named(path)} is a directory", hint="use -r to copy it with all that is in it")
            name = os.path.basename(os.path.normpath(path).lstrip("/")) or self._instance.name
            copy = Copy(door, progress, None if is_directory else found.size)
            with _host_directory(target, name, parents=parents) as (directory, chosen):
                if is_directory:
                    copy.pull_tree(path, directory, chosen)
                elif _is_written_to(directory, chosen):
                    with open(chosen, "wb", opener=lambda each, flags: os.open(each, flags, dir_fd=directory)) as file:
                        copy.pull_to(path, file.fileno())
                else:
                    copy.pull_file(path, directory, chosen)
            return copy.copied

    def pull_to(self, path: str, fd: int, *, progress: Progress | None = None) -> Copied:
        """Write a file of the instance to a descriptor."""
        with self._at(path) as door:
            copy = Copy(door, progress, door.stat(path).size or None)
            copy.pull_to(path, fd)
            return copy.copied

    def edit(self, path: str, editor: Sequence[str]) -> bool:
        """Have a file changed with an editor on the caller's terminal; one that is missing is made. False when nothing
        was changed. Raises Conflict when somebody else has changed it meanwhile; the draft is kept then."""
        name = os.path.basename(path.rstrip("/"))
        before: Entry | None = None
        data = b""
        with contextlib.suppress(NotFound):
            before = self.stat(path)
            data = self.read(path)
        directory = tempfile.mkdtemp(prefix="cloison-edit-")
        draft = f"{directory}/{name}"
        with open(draft, "wb", opener=lambda each, flags: os.open(each, flags, 0o600)) as file:
            file.write(data)
        try:
            code = self._engine.driver.edit([*editor, draft])
            with open(draft, "rb") as file:
                after = file.read()
        except OSError as problem:
            _discard(directory)
            raise Invalid(f"{editor[0]}: {problem.strerror}: nothing was changed", hint="set $EDITOR") from problem
        if code or after == data:
            _discard(directory)
            if code:
                raise Invalid(f"{editor[0]} has failed (exit code {code}): nothing was changed")
            return False
        try:
            self._expect_unchanged(path, before)
            self.write(path, after)
        except CloisonError as problem:
            problem.hint = f"{problem.hint}{'; ' if problem.hint else ''}what you wrote is in {draft}"
            raise
        _discard(directory)
        return True

    # --- within ------------------------------------------------------------------------------------------

    def _named(self, path: str) -> str:
        return f"{self._instance.name}{path}"

    def _expect_unchanged(self, path: str, before: Entry | None) -> None:
        present = None
        with contextlib.suppress(NotFound):
            present = self.stat(path)
        if present != before:
            raise Conflict(f"{self._named(path)} has been changed by somebody else meanwhile")

    def _expect_ids(self, *ids: int | None) -> None:
        for each in ids:
            if each is not None and not 0 <= each < RANGE:
                raise Invalid(f"the id {each} is none of an instance's: they are 0 to {RANGE - 1}")

    def _target(self, door: Door, path: str, name: str) -> str:
        """Where a file of that name comes to."""
        if path.endswith("/"):
            return path + name
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(door.stat(path).mode):
                return f"{path}/{name}"
        return path

    def _make_parents(self, door: Door, path: str) -> None:
        above = os.path.dirname(path.rstrip("/"))
        if above.strip("/"):
            door.mkdir(above, uid=0, gid=0, mode=0o755, parents=True)

    @contextlib.contextmanager
    def _at(self, path: str) -> Iterator[Door]:
        """The files, with errors in words."""
        if not path.startswith("/") or "\0" in path:
            raise Invalid(f"{path!r} is no absolute path inside")
        with contextlib.ExitStack() as stack:
            door = self._door or stack.enter_context(self._opened("work on its files"))
            self._expect_there(path)
            try:
                yield door
            except OSError as problem:
                raise self._worded(path, problem) from problem

    def _worded(self, path: str, problem: OSError) -> CloisonError:
        about = problem.filename if isinstance(problem.filename, str) and problem.filename else path
        return worded(self._instance.name, about if about.startswith("/") else path, problem)

    @contextlib.contextmanager
    def _opened(self, doing: str) -> Iterator[Door]:
        instance = self._instance
        if instance.state is State.STUCK:
            instance.repair()
        if instance.state not in _KEPT:
            with self._command(doing):
                if instance.state is State.STOPPED:
                    with self._of_stopped() as door:
                        yield door
                    return
        is_privileged = instance.record.in_force.security.privileged
        try:
            with self._engine.driver.files(instance.id, is_privileged=is_privileged) as door:
                yield door
        except OSError as problem:
            raise self._worded("", problem) from problem

    @contextlib.contextmanager
    def _of_stopped(self) -> Iterator[Door]:
        from cloison.engine import records
        from cloison.storage import files

        pools = self._engine.pools
        record = pools.adopt(records.load(self._engine.store, self._instance.id))
        tree = records.tree_of(record)
        mounts: tuple[tuple[str, str, bool], ...] = ()
        if record.config.mounts:
            from cloison.engine.mounts import while_stopped

            mounts, self._absent = while_stopped(self._engine, record.config)
        try:
            with pools.driver(tree.pool).opened(tree) as root, files.below(root, mounts) as door:
                yield door
        except OSError as problem:
            raise self._worded("", problem) from problem
        finally:
            self._absent = {}

    def _expect_there(self, path: str) -> None:
        """Of one that does not run: no path below what is mounted only while it does."""
        whole = f"{os.path.normpath(path)}/"
        for target, (name, what) in self._absent.items():
            if whole.startswith(f"{target.rstrip('/')}/"):
                raise WrongState(
                    f"{self._named(path)} is in mounts.{name} ({what}), which is there only while it runs",
                    hint=f"cloison start {self._instance.name}",
                )


def worded(name: str, path: str, problem: OSError) -> CloisonError:
    """What the kernel has said of a file of the instance `name`, in our words. Pure."""
    file, code = f"{name}{path}", problem.errno
    mode = getattr(problem, "mode", None)
    if mode is not None:
        return Invalid(f"{file} is a {kind_of(mode)}, and not a file that could be copied")
    known: dict[int, tuple[type[CloisonError], str, str]] = {
        errno.ENOENT: (NotFound, "is not there", "`cloison file ls` shows what is; push -p makes directories"),
        errno.EISDIR: (Invalid, "is a directory", "use -r for it and all that is in it"),
        errno.ENOTDIR: (Invalid, "is no directory, or lies below what is none", ""),
        errno.ELOOP: (Invalid, "leads through too many links", ""),
        errno.ENOTEMPTY: (Conflict, "is a directory that is not empty", "use -r to remove all that is in it"),
        errno.EBUSY: (Conflict, "is a root directory, or something is mounted there", ""),
        errno.EXDEV: (Conflict, "has something else mounted in it, which stays", "remove that mount first"),
        errno.EROFS: (Denied, "is on a read-only file system", ""),
        errno.EACCES: (Denied, "may not be changed by the instance's root", ""),
        errno.EPERM: (Denied, "may not be changed by the instance's root", "is it immutable? see lsattr(1)"),
        errno.EEXIST: (Exists, "is there already", ""),
        errno.EINVAL: (Invalid, "cannot be: the path, the owner or the mode is none that its file system takes", ""),
        errno.EOVERFLOW: (Invalid, "would have an owner that its file system cannot keep", "see mounts.*.idmap"),
        errno.ENAMETOOLONG: (Invalid, "has a name that is too long", ""),
        errno.ESRCH: (WrongState, "cannot be reached: the instance has just ended", "try again"),
        errno.ETIMEDOUT: (TimedOut, "is on a file system that does not answer", ""),
    }
    if code in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space is left for {file}; what was there before is as it was", hint="free some space")
    if code in known:
        kind, words, hint = known[code]
        return kind(f"{file} {words}", hint=hint)
    return Kernel(f"{file}: {problem.strerror}")


def _is_there(door: Door, path: str) -> bool:
    try:
        door.stat(path)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _host_file(path: str) -> Iterator[tuple[int, int]]:
    """A file or directory of the host: (descriptor, st_mode). Raises NotFound, Denied."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise _of_host(path, problem) from problem
    try:
        yield fd, os.fstat(fd).st_mode
    finally:
        os.close(fd)


@contextlib.contextmanager
def _host_directory(target: str, name: str, *, parents: bool) -> Iterator[tuple[int, str]]:
    """The directory of the host, and the name in it, to which a file called `name` comes."""
    into = target.endswith("/") or os.path.isdir(target)
    above = target if into else os.path.dirname(os.path.realpath(target))
    try:
        if parents:
            os.makedirs(above, exist_ok=True)
        fd = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise _of_host(above, problem) from problem
    try:
        yield fd, name if into else os.path.basename(os.path.realpath(target))
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space is left for {target} on the host", hint="free some space") from problem
        raise
    finally:
        os.close(fd)


def _is_written_to(directory: int, name: str) -> bool:
    """Whether something of the host is no file that could be replaced: a device, a fifo."""
    try:
        mode = os.stat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise Invalid(f"{name} is a directory on the host")
    return not stat.S_ISREG(mode)


def _of_host(path: str, problem: OSError) -> CloisonError:
    if problem.errno == errno.ENOENT:
        return NotFound(f"{path} is not there on the host")
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(f"{path} cannot be used on the host: {problem.strerror}")
    return Invalid(f"{path} cannot be used on the host: {problem.strerror}")


def _discard(directory: str) -> None:
    import shutil

    shutil.rmtree(directory, ignore_errors=True)
