"""Streams that somebody has made to do harm: nothing outside of the tree is touched, whatever they say."""

import hashlib
import os
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid
from cloison.storage.overlay import OverlayDriver
from cloison.storage.stream import MAGIC

ABOUT: list[object] = [0o755, os.geteuid(), os.getegid(), 0, {}]


def stream(*records: list[object]) -> bytes:
    """A stream whose digest is right."""
    body = bytearray(MAGIC)
    whole: list[list[object]] = [["h", "nothing"], ["d", b"", ABOUT, False], *records, ["e"]]
    for record in whole:
        packed = msgspec.msgpack.encode(record)
        body += struct.pack(">I", len(packed)) + packed
        if record[0] == "f":
            body += struct.pack(">QI", 0, 4) + b"evil" + struct.pack(">QI", 0, 0)
    return bytes(body) + hashlib.sha256(body).digest()


def file(path: bytes) -> list[object]:
    return ["f", path, ABOUT, 4]


@pytest.fixture
def pool(tmp_path: Path) -> OverlayDriver:
    made = OverlayDriver("p", f"{tmp_path}/pool")
    made.prepare()
    (tmp_path / "outside/deep").mkdir(parents=True)
    return made


HOSTILE = [
    [file(b"../../../../outside/file")],
    [file(b"/outside/file")],
    [file(b"a//b")],
    [file(b"")],
    [["d", b"..", ABOUT, False]],
    [["l", b"way", ABOUT, b"OUTSIDE"], file(b"way/file")],
    [["l", b"way", ABOUT, b"OUTSIDE"], file(b"way/deep/file")],
    [["l", b"way", ABOUT, b"OUTSIDE"], ["d", b"way/deep/more", ABOUT, False]],
    [["l", b"way", ABOUT, b"OUTSIDE"], ["w", b"way/deep"]],
    [file(b"mine"), ["l", b"way", ABOUT, b"OUTSIDE"], ["s", b"other", b"way/deep/victim"]],
    [["s", b"mine", b"../../../../outside/victim"]],
    [["n", b"disk", [0o100644, 0, 0, 0, {}], 0]],
    [["f", b"file", ABOUT, 2]],
    [["f", b"file", ABOUT]],
    [["x", b"file"]],
    [file(b"not/made/before")],
]


@pytest.mark.parametrize("records", HOSTILE)
def test_a_hostile_stream_reaches_nothing_outside(
    pool: OverlayDriver, tmp_path: Path, records: list[list[object]]
) -> None:
    (tmp_path / "outside/deep/victim").write_text("kept")
    where = str(tmp_path / "outside").encode()
    meant = [[where if word == b"OUTSIDE" else word for word in record] for record in records]
    with pytest.raises(Invalid, match=r"the stream of files is damaged|is said to be a device"):
        pool.receive(iter([stream(*meant)]))
    assert sorted(path.name for path in (tmp_path / "outside").rglob("*")) == ["deep", "victim"]
    assert (tmp_path / "outside/deep/victim").read_text() == "kept"
    assert (tmp_path / "outside/deep/victim").stat().st_nlink == 1
    assert pool.names() == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    pool = OverlayDriver("p", str(tmp_path_factory.getbasetemp() / "any"))
    pool.prepare()
    with pytest.raises(Invalid, match="the stream of files is damaged"):
        pool.receive(iter([MAGIC + data]))
    assert pool.names() == ()
