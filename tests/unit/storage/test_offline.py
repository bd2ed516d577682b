"""Files of an instance that does not run: seen as overlayfs shows them, and never outside of its layers."""

import os
from pathlib import Path

import pytest

from cloison.storage import offline
from cloison.storage.driver import RootLayers
from cloison.storage.offline import Kind, Seen


@pytest.fixture
def layers(tmp_path: Path) -> RootLayers:
    for name in ("upper", "one/etc", "two/etc"):
        (tmp_path / name).mkdir(parents=True)
    return RootLayers((f"{tmp_path}/one", f"{tmp_path}/two"), f"{tmp_path}/upper")


def test_the_uppermost_layer_that_has_it_decides(layers: RootLayers, tmp_path: Path) -> None:
    assert offline.look(layers, "etc/hosts") == Seen(Kind.ABSENT)
    (tmp_path / "two/etc/hosts").write_text("two")
    assert offline.look(layers, "etc/hosts") == Seen(Kind.FILE, b"two")
    (tmp_path / "one/etc/hosts").write_text("one")
    assert offline.look(layers, "etc/hosts") == Seen(Kind.FILE, b"one")
    offline.write(layers, "/etc/hosts", b"own")
    assert offline.look(layers, "etc/hosts") == Seen(Kind.FILE, b"own", is_own=True)
    assert (tmp_path / "one/etc/hosts").read_text() == "one"


def test_several_files_of_a_directory_are_seen_at_once(layers: RootLayers, tmp_path: Path) -> None:
    offline.write(layers, "/etc/hosts", b"own")
    (tmp_path / "two/etc/hostname").write_text("two")
    names = ("hosts", "hostname", "resolv.conf")
    own, image = Seen(Kind.FILE, b"own", is_own=True), Seen(Kind.FILE, b"two")
    assert offline.look_among(layers, "etc", names) == (own, image, Seen(Kind.ABSENT))
    assert offline.look_among(layers, "etc/hosts", names) == (Seen(Kind.OTHER),) * 3


def test_what_is_written_is_whole_and_for_all_to_read(layers: RootLayers, tmp_path: Path) -> None:
    offline.write(layers, "etc/a/b/file", b"x")
    assert (tmp_path / "upper/etc/a/b/file").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path / "upper/etc/a/b") == ["file"]


def test_an_opaque_directory_hides_what_is_below(layers: RootLayers, tmp_path: Path) -> None:
    (tmp_path / "one/etc/hosts").write_text("one")
    (tmp_path / "upper/etc").mkdir()
    try:
        os.setxattr(tmp_path / "upper/etc", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("the file system of the temporary directory has no user.* attributes")
    assert offline.look(layers, "etc/hosts") == Seen(Kind.ABSENT)


def test_a_directory_that_has_become_a_file_hides_what_is_below(layers: RootLayers, tmp_path: Path) -> None:
    (tmp_path / "two/etc/hosts").write_text("two")
    (tmp_path / "one/etc").rmdir()
    (tmp_path / "one/etc").write_text("a file")
    assert offline.look(layers, "etc/hosts").kind is Kind.OTHER


def test_a_link_is_seen_and_not_followed(layers: RootLayers, tmp_path: Path) -> None:
    (tmp_path / "one/etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    assert offline.look(layers, "etc/resolv.conf") == Seen(Kind.LINK, b"../run/systemd/resolve/stub-resolv.conf")


def test_a_link_in_the_place_of_a_directory_leads_nowhere(layers: RootLayers, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "upper/etc").symlink_to(outside)
    assert offline.look(layers, "etc/hosts").kind is Kind.OTHER
    with pytest.raises(OSError, match="etc"):
        offline.write(layers, "etc/hosts", b"x")
    assert os.listdir(outside) == []


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(layers: RootLayers, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "upper/etc").mkdir()
    (tmp_path / "upper/etc/hosts").symlink_to(target)
    offline.write(layers, "etc/hosts", b"own")
    assert target.read_text() == "kept"
    assert offline.look(layers, "etc/hosts") == Seen(Kind.FILE, b"own", is_own=True)


def test_nobody_waits_for_a_fifo_or_reads_a_large_file(layers: RootLayers, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "one/etc/hosts")
    (tmp_path / "one/etc/hostname").write_bytes(bytes(offline.MAX_FILE + 1))
    assert offline.look(layers, "etc/hosts").kind is Kind.OTHER
    assert offline.look(layers, "etc/hostname").kind is Kind.OTHER
