"""The state store: keys and values with revisions, embedded in one SQLite file.

    kv      key TEXT PRIMARY KEY, value BLOB, revision INTEGER
    events  sequence INTEGER PRIMARY KEY, time_ns INTEGER, subject TEXT, what TEXT, detail TEXT
    meta    revision INTEGER            one row: the revision of the last change

The interface is small on purpose (get, put and delete with a revision, a transaction that succeeds whole or not at
all, list by prefix), so that etcd can carry it across machines later. Keys are paths:

    instances/<id>    the instance's record        names/<name>    its id        ranges/<first id>    its id
    snapshots/<id>/<name>, schedules/<id>          see `cloison.engine.snapshot_records`, `cloison.engine.due`
    texts/<id>        what its files say of it: see `cloison.engine.identity`
    samples/<id>, ledger/<hour>/<id>/<project>     what it consumes: see `cloison.engine.ledger`

Safe for several processes (SQLite's write-ahead log) and several threads (one connection for each).
Whether an instance runs is never written here: that is asked of its monitor.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import msgspec

from cloison.base.errors import Busy, Denied, Host, NoSpace

BUSY_TIMEOUT_S = 10.0
KEPT_EVENTS = 10_000
LOG_BYTES = 1 << 20
LEAST_BYTES = 128 << 10  # that a btrfs has to have free: see `Store`
ALL_PIECES = 1 << 10
_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,
    subject TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS meta (revision INTEGER NOT NULL);
INSERT INTO meta SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM meta);
PRAGMA user_version = 1;
"""


class Entry(msgspec.Struct, frozen=True):
    """A value, and the revision of the change that wrote it."""

    key: str
    value: bytes
    revision: int


class Event(msgspec.Struct, frozen=True):
    """Something that happened; `subject` is an instance's id."""

    sequence: int
    time_ns: int
    subject: str
    what: str
    detail: str


def _have_none(_pieces: int) -> None:
    """No reserve."""


class Store:
    """The store in the file `path`, made where it is missing. `relieve` makes room on a full disk, by so many pieces of
    the reserve (`cloison.storage.reserve`): SQLite has files of its own, also where nothing is going to be written."""

    def __init__(self, path: str, relieve: Callable[[int], None] = _have_none) -> None:
        self._path = path
        self._relieve = relieve
        self._is_relieved = False
        self._threads = threading.local()

    def get(self, key: str) -> Entry | None:
        """One entry, or None."""
        with _told(self._path):
            row = self._connection().execute("SELECT key, value, revision FROM kv WHERE key = ?", (key,)).fetchone()
        return Entry(*row) if row else None

    def list(self, prefix: str) -> tuple[Entry, ...]:
        """Every entry whose key begins with `prefix`, in the order of the keys."""
        return self.range(prefix, prefix + "\U0010ffff")

    def range(self, first: str, end: str) -> "tuple[Entry, ...]":
        """Every entry whose key is `first` or later, and before `end`, in the order of the keys."""
        with _told(self._path):
            rows = self._connection().execute(
                "SELECT key, value, revision FROM kv WHERE key >= ? AND key < ? ORDER BY key", (first, end)
            )
            return tuple(Entry(*row) for row in rows)

    @contextlib.contextmanager
    def transaction(self, *, is_durable: bool = False) -> Iterator["Transaction"]:
        """Changes that are made together or not at all; an exception inside takes all of them back.

        With `is_durable` they, and all before them, are on the disk at the end, and outlive a failure of power: for
        what says where an instance's files are."""
        connection = self._connection()
        if is_durable:
            connection.execute("PRAGMA synchronous = FULL")
        try:
            with self._changes(connection) as changes:
                yield changes
        finally:
            if is_durable:
                connection.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def _changes(self, connection: sqlite3.Connection) -> Iterator["Transaction"]:
        with _told():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself takes some back, where the disk is full
                    connection.execute("ROLLBACK")
                raise
        self._keep_log_short(connection)

    def _keep_log_short(self, connection: sqlite3.Connection) -> None:
        """Move what is in SQLite's log to its file when the log has grown, and empty it.

        SQLite's own way begins the log anew with the second transaction after it was moved. A command ends after one,
        and what has been moved is forgotten with the last process that knew: each next command would read the whole log
        once more, and write after its end. Source: sqlite.org/walformat.html, "Recovery"; PRAGMA wal_checkpoint."""
        if _size(f"{self._path}-wal") < LOG_BYTES:
            return
        with contextlib.suppress(sqlite3.DatabaseError):  # who reads just now, or a full disk: the next one does it
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")

    def record(self, subject: str, what: str, detail: str = "") -> None:
        """Note that something happened."""
        with self.transaction() as changes:
            changes.record(subject, what, detail)

    def events(self, subject: str = "", after: int = 0) -> tuple[Event, ...]:
        """What happened, oldest first; to one subject, or to all."""
        rows = self._connection().execute(
            "SELECT sequence, time_ns, subject, what, detail FROM events"
            " WHERE sequence > ? AND (? = '' OR subject = ?) ORDER BY sequence",
            (after, subject, subject),
        )
        return tuple(Event(*row) for row in rows)

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._threads, "connection", None)
        if connection is not None:
            self._make_room()
            connection.close()
            del self._threads.connection

    def _make_room(self) -> None:
        """SQLite writes into an index that it has mapped into memory. A btrfs, which counts no inodes, copies what is
        written, there too; where it has no room for that, it ends the process by SIGBUS."""
        found = os.statvfs(os.path.dirname(self._path))
        is_full = found.f_files == 0 and found.f_bavail * found.f_frsize < LEAST_BYTES
        if is_full and not self._is_relieved:
            self._relieve(1)
        self._is_relieved = is_full

    def _connection(self) -> sqlite3.Connection:
        self._make_room()
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._open()
            self._threads.connection = connection
        return connection

    def _open(self) -> sqlite3.Connection:
        with _told(self._path):
            try:
                return _connected(self._path)
            except sqlite3.OperationalError as problem:
                if not _is_full(problem) and "unable to open" not in str(problem):  # it says so of a lack of inodes
                    raise
            self._relieve(ALL_PIECES)
            return _connected(self._path)


class Transaction:
    """Changes in the making; obtained from `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("UPDATE meta SET revision = revision + 1")
        self._revision = int(connection.execute("SELECT revision FROM meta").fetchone()[0])

    def get(self, key: str) -> Entry | None:
        """One entry as this transaction sees it."""
        row = self._connection.execute("SELECT key, value, revision FROM kv WHERE key = ?", (key,)).fetchone()
        return Entry(*row) if row else None

    def keys(self, prefix: str) -> frozenset[str]:
        """The keys that begin with `prefix`."""
        rows = self._connection.execute(
            "SELECT key FROM kv WHERE key >= ? AND key < ?", (prefix, prefix + "\U0010ffff")
        )
        return frozenset(row[0] for row in rows)

    def put(self, key: str, value: bytes) -> None:
        """Write an entry."""
        self._connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?, ?)", (key, value, self._revision))

    def delete(self, key: str) -> None:
        """Remove an entry; a missing one is no error."""
        self._connection.execute("DELETE FROM kv WHERE key = ?", (key,))

    def record(self, subject: str, what: str, detail: str = "") -> None:
        """Note that something happened, together with the changes."""
        cursor = self._connection.execute(
            "INSERT INTO events (time_ns, subject, what, detail) VALUES (?, ?, ?, ?)",
            (time.time_ns(), subject, what, detail),
        )
        last = cursor.lastrowid or 0
        if last % 100 == 0:
            self._connection.execute("DELETE FROM events WHERE sequence <= ?", (last - KEPT_EVENTS,))


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        # A crash of the machine may lose the last change, never more.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `Store._keep_log_short`
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables of a new file. SQLite does not wait for whoever else switches it to its log at this moment."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] < 1:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
                os.chmod(path, 0o600)
            return
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() >= deadline:
                raise
        time.sleep(0.005)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _told(path: str = "the state store") -> Iterator[None]:
    """SQLite's own errors in cloison's words."""
    try:
        yield
    except sqlite3.DatabaseError as problem:
        text = str(problem)
        if "locked" in text or "busy" in text:
            raise Busy(f"{path} has been locked by another process for {BUSY_TIMEOUT_S:.0f} s") from problem
        if _is_full(problem):
            raise NoSpace(f"{path} cannot be written: {text}", hint="free some space on its file system") from problem
        if not isinstance(problem, sqlite3.OperationalError):
            raise Host(f"{path} is damaged: {text}", hint="move it away, or put a copy of it in its place") from problem
        raise Denied(f"{path} cannot be opened: {text}", hint="run cloison as root") from problem


def _is_full(problem: sqlite3.DatabaseError) -> bool:
    """Whether there is no room: SQLite says so only of the files that hold data."""
    return "full" in str(problem) or "disk I/O" in str(problem)
