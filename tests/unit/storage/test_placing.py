"""Files put into a tree, by the paths that they have inside."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Invalid, NotFound
from cloison.storage import placing

ME = (os.geteuid(), os.getegid())


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A tree, and beside it what nobody may reach."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\nodd\n7:x:8:9::/:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nadm:x:4:web\n")
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield fd, tree
    os.close(fd)


def test_owners_are_looked_up_in_the_tree(root: tuple[int, Path]) -> None:
    fd, _ = root
    assert placing.owner_of(fd, "web") == (33, 34)
    assert placing.owner_of(fd, "web:adm") == (33, 4)
    assert placing.owner_of(fd, "1000") == (1000, 1000)
    assert placing.owner_of(fd, "1000:5") == (1000, 5)
    assert placing.owner_of(fd, "7") == (8, 9)  # a name of digits alone is a name where it is known
    for unknown in ("nobody", "web:staff"):
        with pytest.raises(NotFound):
            placing.owner_of(fd, unknown)


def test_a_file_is_written_with_the_directories_above_it(root: tuple[int, Path]) -> None:
    fd, tree = root
    before = os.umask(0o077)
    try:
        placing.write(fd, "/srv/site/index", b"hello", ME, 0o640)
    finally:
        os.umask(before)
    assert (tree / "srv/site/index").read_bytes() == b"hello"
    assert stat.S_IMODE((tree / "srv/site/index").stat().st_mode) == 0o640
    assert stat.S_IMODE((tree / "srv/site").stat().st_mode) == 0o755
    assert os.listdir(tree / "srv/site") == ["index"]


def test_links_lead_where_they_lead_inside_and_never_out(root: tuple[int, Path], tmp_path: Path) -> None:
    fd, tree = root
    (tree / "out").symlink_to(tmp_path / "outside")
    (tree / "conf").symlink_to("/etc")
    with pytest.raises(Invalid, match="/out cannot be written"):
        placing.write(fd, "/out/x", b"1", ME, 0o644)
    placing.write(fd, "/conf/x", b"1", ME, 0o644)
    (tree / "etc/y").symlink_to(tmp_path / "outside/y")
    placing.write(fd, "/etc/y", b"2", ME, 0o644)
    assert (tree / "etc/x").read_bytes() == b"1"
    assert not (tree / "etc/y").is_symlink() and (tree / "etc/y").read_bytes() == b"2"
    assert os.listdir(tmp_path / "outside") == []


def test_a_link_replaces_what_is_there_but_a_directory(root: tuple[int, Path]) -> None:
    fd, tree = root
    placing.link(fd, "/etc/passwd", "../x", ME)
    assert os.readlink(tree / "etc/passwd") == "../x"
    with pytest.raises(Invalid, match="/etc cannot be written"):
        placing.link(fd, "/etc", "x", ME)
    with pytest.raises(Invalid, match="/etc cannot be written"):
        placing.write(fd, "/etc", b"", ME, 0o644)
    with pytest.raises(Invalid, match="/etc/group cannot be written"):
        placing.write(fd, "/etc/group/x", b"", ME, 0o644)
    assert sorted(os.listdir(tree / "etc")) == ["group", "passwd"]


def test_a_directory_is_copied_with_its_modes_and_links(root: tuple[int, Path], tmp_path: Path) -> None:
    fd, tree = root
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True, mode=0o750)
    (source / "bin/run").write_text("#!")
    (source / "bin/run").chmod(0o755)
    (source / "link").symlink_to("bin/run")
    placing.copy(fd, "/etc", str(source), ME, None)
    assert stat.S_IMODE((tree / "etc/bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "etc/bin").stat().st_mode) == 0o750
    assert os.readlink(tree / "etc/link") == "bin/run"
    assert (tree / "etc/passwd").exists()
    placing.copy(fd, "/etc", str(source), ME, 0o600)
    assert stat.S_IMODE((tree / "etc/bin/run").stat().st_mode) == 0o600
    os.mkfifo(source / "pipe")
    for path in (source, source / "pipe"):
        with pytest.raises(Invalid, match="neither a file nor a directory"):
            placing.copy(fd, "/srv/x", str(path), ME, None)
