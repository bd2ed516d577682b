import os
from pathlib import Path

import pytest

from cloison.cli import following
from cloison.cli.following import Follower


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(following, "PAUSE_S", 0.0)
    monkeypatch.setattr(following, "RESTART_S", 0.0)
    path = tmp_path / "console.log"
    path.write_bytes(b"one\n")
    return path


class Life:
    """The states of an instance, one for each time it is asked; something happens before each answer."""

    def __init__(self, *happens: object) -> None:
        self.happens = list(happens)

    def __call__(self) -> str:
        if not self.happens:
            return "stopped"
        event = self.happens.pop(0)
        if callable(event):
            event()
        return "running"


def write(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def rotate(path: Path) -> None:
    os.rename(path, f"{path}.1")
    path.write_bytes(b"")


def test_what_is_new_comes_after_what_was_there(log: Path) -> None:
    with Follower(str(log), Life(lambda: write(log, b"two\n"))) as follower:
        assert follower.past() == b"one\n"
        assert b"".join(follower) == b"two\n"


def test_the_older_file_belongs_to_the_past(log: Path) -> None:
    rotate(log)
    write(log, b"two\n")
    with Follower(str(log), Life()) as follower:
        assert follower.past() == b"one\ntwo\n"


def test_nothing_is_lost_where_the_log_is_rotated(log: Path) -> None:
    def turn() -> None:
        write(log, b"two\n")
        rotate(log)
        write(log, b"three\n")

    with Follower(str(log), Life(turn, lambda: write(log, b"four\n"))) as follower:
        assert follower.past() == b"one\n"
        assert b"".join(follower) == b"two\nthree\nfour\n"


def test_a_log_that_is_not_there_yet_is_waited_for(log: Path) -> None:
    log.unlink()
    with Follower(str(log), Life(lambda: write(log, b"two\n"))) as follower:
        assert follower.past() == b""
        assert b"".join(follower) == b"two\n"


def test_a_restart_is_followed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RESTART_S", 60.0)
    clock = iter((0.0, 59.0, 61.0, 130.0))
    monkeypatch.setattr(following, "monotonic", lambda: next(clock))
    states = iter(("stopped", "running", "stopped", "stopped"))
    with Follower(str(log), lambda: next(states)) as follower:
        assert b"".join(follower) == b"one\n"
    assert next(states, None) is None
