"""Files that are there whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from cloison.images.files import write_beside


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "index.json"
    write_beside(str(place), b"old")

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_beside(str(place), b"new")
    assert os.listdir(tmp_path) == ["index.json"]
    assert place.read_bytes() == b"old"
