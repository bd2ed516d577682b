"""Paths of the host on a command line that cannot be used: a sentence, never a traceback; and nothing is left."""

import os
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.cli.verbs import export, image_archives, import_


@pytest.mark.parametrize("name", ["missing/x", "file/x", "directory"])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "directory").mkdir()
    target = f"{tmp_path}/{name}"
    with pytest.raises(Invalid, match=f"{name} cannot be written: "):
        export._write_file(target, [b"one"])
    with pytest.raises(Invalid, match=f"{name} cannot be written: "):
        image_archives._write(target, iter([b"one"]))
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def test_what_is_no_file_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(Invalid, match="is a directory"), import_._opened(str(tmp_path)):
        pass
    with pytest.raises(Invalid, match="cannot be read: Not a directory"), import_._opened(f"{tmp_path}/file/x"):
        pass
