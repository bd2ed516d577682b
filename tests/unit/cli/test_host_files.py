"""Paths of the host on a command line that cannot be used: a sentence, never a traceback; and nothing is left."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.cli import host_files
from cloison.cli.verbs import import_


@pytest.mark.parametrize("name", ["missing/x", "file/x", "directory"])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "directory").mkdir()
    target = f"{tmp_path}/{name}"
    with pytest.raises(Invalid, match=f"{name} cannot be written: "):
        host_files.write_whole(target, [b"one"], 0o600)
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def test_what_is_no_file_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(Invalid, match="is a directory"), import_.opened(str(tmp_path)):
        pass
    with pytest.raises(Invalid, match="cannot be read: Not a directory"), import_.opened(f"{tmp_path}/file/x"):
        pass


@pytest.fixture(params=[True, False], ids=["O_TMPFILE", "a name from the beginning"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not request.param:
        flags = os.O_TMPFILE
        real = os.open

        def without(path: str, how: int, mode: int = 0o777) -> int:
            if how & flags == flags:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported", path)
            return real(path, how, mode)

        monkeypatch.setattr(os, "open", without)
    return tmp_path


def test_a_file_is_there_when_it_is_whole(place: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        assert not (place / "x").exists()
        yield b"two"

    assert host_files.write_whole(str(place / "x"), chunks(), 0o600) == 6
    assert (place / "x").read_bytes() == b"onetwo"
    assert (place / "x").stat().st_mode & 0o777 == 0o600
    assert host_files.write_whole(str(place / "x"), [b"other"], 0o600) == 5
    assert (place / "x").read_bytes() == b"other"
    assert os.listdir(place) == ["x"]


def test_what_fails_leaves_what_was_there(place: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise RuntimeError

    (place / "x").write_text("kept")
    for name in ("x", "y"):
        with pytest.raises(RuntimeError):
            host_files.write_whole(str(place / name), chunks(), 0o600)
    assert os.listdir(place) == ["x"]
    assert (place / "x").read_text() == "kept"


def test_what_was_left_by_the_dead_is_removed_and_nothing_else(place: Path) -> None:
    host = os.uname().nodename
    dead, alive, others = f".x.{host}-{2**22 - 1}.part", f".x.{host}-1.part", f".x.{host}-no.part"
    for name in (dead, alive, others):
        (place / name).touch()
    host_files.write_whole(str(place / "x"), [b"one"], 0o600)
    assert sorted(os.listdir(place)) == sorted([alive, others, "x"])


def test_a_link_leads_to_what_is_written_and_a_device_stays_one(place: Path) -> None:
    (place / "link").symlink_to("x")
    host_files.write_whole(str(place / "link"), [b"one"], 0o600)
    assert (place / "link").is_symlink()
    assert (place / "x").read_bytes() == b"one"
    assert host_files.write_whole("/dev/null", [b"one"], 0o600) == 3
    assert Path("/dev/null").is_char_device()
