"""The state store: revisions, transactions, several threads and processes."""

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cloison.engine.store import BUSY_TIMEOUT_S, LOG_BYTES, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state.db"))


def test_a_value_comes_back_with_the_revision_that_wrote_it(store: Store) -> None:
    with store.transaction() as changes:
        changes.put("a", b"1")
    first = store.get("a")
    with store.transaction() as changes:
        changes.put("a", b"2")
    second = store.get("a")
    assert first is not None
    assert second is not None
    assert (first.value, second.value) == (b"1", b"2")
    assert second.revision > first.revision


def test_an_exception_takes_the_whole_transaction_back(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction() as changes:
        changes.put("a", b"1")
        changes.record("x", "created")
        raise RuntimeError
    assert store.get("a") is None
    assert store.events() == ()


def test_a_list_holds_a_prefix_and_nothing_beside_it(store: Store) -> None:
    with store.transaction() as changes:
        for key in ("names/a", "names/b", "namesake", "name", "names0"):
            changes.put(key, b"")
    assert [entry.key for entry in store.list("names/")] == ["names/a", "names/b"]


def test_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    with store.transaction() as changes:
        changes.delete("nothing")
    assert store.get("nothing") is None


def test_events_come_in_order_and_can_be_had_of_one_subject(store: Store) -> None:
    for subject, what in (("a", "created"), ("b", "created"), ("a", "started")):
        store.record(subject, what)
    assert [event.what for event in store.events("a")] == ["created", "started"]
    last = store.events("a")[0].sequence
    assert [event.subject for event in store.events(after=last)] == ["b", "a"]


def test_a_second_opening_sees_what_the_first_wrote(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    Store(path).record("a", "created")
    assert len(Store(path).events()) == 1


def test_the_file_is_for_root_alone(store: Store, tmp_path: Path) -> None:
    store.record("a", "created")
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600


def test_threads_that_count_together_lose_nothing(store: Store) -> None:
    with store.transaction() as changes:
        changes.put("n", b"0")

    def count() -> None:
        for _ in range(25):
            with store.transaction() as changes:
                entry = changes.get("n")
                assert entry is not None
                changes.put("n", str(int(entry.value) + 1).encode())
        store.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = store.get("n")
    assert entry is not None
    assert entry.value == b"100"


def test_many_who_open_a_new_store_at_once_all_succeed(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def use(path: str) -> None:
        try:
            Store(path).record("a", "created")
        except BaseException as problem:
            failed.append(problem)

    for attempt in range(20):
        path = str(tmp_path / f"{attempt}.db")
        threads = [threading.Thread(target=use, args=(path,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(Store(path).events()) == 8
    assert failed == []


def test_a_durable_change_is_synced_before_it_is_believed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state.db"))

    def level() -> int:
        return int(store._connection().execute("PRAGMA synchronous").fetchone()[0])

    with store.transaction(is_durable=True) as changes:
        changes.put("a", b"1")
        assert level() == 2  # FULL: the log is synced at each commit, https://sqlite.org/pragma.html#pragma_synchronous
    assert level() == 1
    with pytest.raises(ValueError), store.transaction(is_durable=True):
        raise ValueError
    assert level() == 1
    with store.transaction():
        assert level() == 1


def test_commands_that_end_without_closing_leave_a_short_log(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        f"sys.path[:0] = {[entry for entry in sys.path if entry]!r}\n"
        "from cloison.engine.store import Store\n"
        "with Store(sys.argv[1]).transaction() as changes:\n"
        "    changes.put(sys.argv[2], os.urandom(300_000))\n"
        "os._exit(0)\n"
    )
    path, lengths = tmp_path / "state.db", []
    for number in range(12):
        subprocess.run([sys.executable, "-I", "-c", script, path, str(number)], check=True)
        lengths.append((tmp_path / "state.db-wal").stat().st_size)
    assert 0 in lengths
    assert max(lengths) < LOG_BYTES
    store = Store(str(path))
    assert len(store.list("")) == 12


def test_a_log_is_not_emptied_under_a_reader(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state.db"))
    with store.transaction() as changes:
        changes.put("a", b"1")
    reader = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM kv").fetchone() == (1,)
    began = time.monotonic()
    with store.transaction() as changes:
        changes.put("large", bytes(2 * LOG_BYTES))
    assert time.monotonic() - began < BUSY_TIMEOUT_S / 2
    assert reader.execute("SELECT count(*) FROM kv").fetchone() == (1,)
    reader.execute("COMMIT")
    assert (tmp_path / "state.db-wal").stat().st_size > LOG_BYTES
    with store.transaction() as changes:
        changes.put("b", b"2")
    assert (tmp_path / "state.db-wal").stat().st_size == 0
    assert [entry.key for entry in store.list("")] == ["a", "b", "large"]
