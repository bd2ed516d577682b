import contextlib
import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.images import ImageStore
from cloison.images.incoming import Incoming
from cloison.images.layers import stream
from cloison.images.limits import DEFAULT, Limits
from cloison.images.tar import pax
from cloison.images.tar.acl import packed
from tests.unit.images.archives import chunks, entry, file, tar

DIR, LINK, HARD, CHR, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


@contextlib.contextmanager
def unpacked(root: Path, archive: bytes, limits: Limits = DEFAULT) -> Iterator[tuple[Path, Incoming]]:
    """The directory in which the archive was unpacked; the archive's bytes come back from there."""
    with ImageStore(f"{root}/images").incoming(limits) as work:
        layer = work.unpack(chunks(archive))
        assert layer.diff_id == f"sha256:{hashlib.sha256(archive).hexdigest()}"
        assert layer.size_bytes == len(archive)
        place = Path(work.path, "layers", layer.diff_id.removeprefix("sha256:"))
        assert b"".join(stream(str(place))) == archive
        yield place, work


def refused(root: Path, archive: bytes, match: str, limits: Limits = DEFAULT) -> None:
    """The archive is not unpacked, for this reason, and nothing of it stays."""
    store = ImageStore(f"{root}/images")
    with pytest.raises(Invalid, match=match), store.incoming(limits) as work:
        work.unpack(chunks(archive))
    assert os.listdir(store.layers_dir) == os.listdir(store.tmp_dir) == []


def test_every_kind_of_file_is_unpacked_as_it_was(tmp_path: Path) -> None:
    archive = tar(
        entry("./", DIR, mode=0o711),
        entry("usr", DIR, mode=0o750, mtime=5),
        file("usr/program", b"x" * 20000, mode=0o4755, mtime=7),
        file("empty", b""),
        entry("link", LINK, "/etc/passwd"),
        entry("usr/hard", HARD, "usr/program"),
        entry("pipe", FIFO, mode=0o600),
    )
    with unpacked(tmp_path, archive) as (place, work):
        assert stat.S_IMODE(place.stat().st_mode) == 0o711
        assert (stat.S_IMODE((place / "usr").stat().st_mode), (place / "usr").stat().st_mtime) == (0o750, 5)
        program = (place / "usr/program").stat()
        assert (stat.S_IMODE(program.st_mode), program.st_mtime, program.st_nlink) == (0o4755, 7, 2)
        assert (place / "usr/hard").read_bytes() == b"x" * 20000
        assert (place / "empty").read_bytes() == b""
        assert os.readlink(place / "link") == "/etc/passwd"
        assert stat.S_ISFIFO((place / "pipe").stat().st_mode)
        assert not work.left_out


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_name_and_a_long_link_are_kept_whole(tmp_path: Path, form: int) -> None:
    name, target = "/".join(["d" * 60] * 5), "t" * 300
    with unpacked(tmp_path, tar(file(f"{name}/file"), entry("link", LINK, target), form=form)) as (place, _):
        assert (place / name / "file").read_bytes() == b"content"
        assert os.readlink(place / "link") == target


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    with unpacked(tmp_path, tar(file("caf\udce9"), form=tarfile.GNU_FORMAT)) as (place, _):
        assert os.listdir(os.fsencode(place)) == [b"caf\xe9"]


def test_a_leading_slash_means_the_top_of_the_tree(tmp_path: Path) -> None:
    with unpacked(tmp_path, tar(file("/etc/shadow"), file("//./etc//passwd"))) as (place, _):
        assert sorted(os.listdir(place / "etc")) == ["passwd", "shadow"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "..", "/../x"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, tar(entry("a", DIR), file(name)), "leads out of the archive")


def test_a_symbolic_link_leads_nowhere_but_into_the_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tar(entry("up", LINK, "../" * 20 + str(outside)), entry("abs", LINK, str(outside)), file("abs/one"))
    refused(tmp_path, archive, "cannot be reached: 'abs' is no directory")
    refused(tmp_path, tar(entry("up", LINK, "../" * 20 + str(outside)), file("up/one")), "cannot be reached")
    assert list(outside.iterdir()) == []


def test_a_link_to_a_directory_of_the_tree_is_followed_as_inside(tmp_path: Path) -> None:
    archive = tar(entry("usr/lib", DIR), entry("lib", LINK, "/usr/lib"), file("lib/so"), file("lib/more/so"))
    with unpacked(tmp_path, archive) as (place, _):
        assert (place / "usr/lib/so").read_bytes() == (place / "usr/lib/more/so").read_bytes() == b"content"


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with unpacked(tmp_path, tar(entry("file", LINK, str(victim)), file("file", b"theirs"))) as (place, _):
        assert not (place / "file").is_symlink()
        assert (place / "file").read_bytes() == b"theirs"
    assert victim.read_text() == "mine"


def test_a_directory_that_takes_the_place_of_a_link_is_one(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with unpacked(tmp_path, tar(entry("d", LINK, str(outside)), entry("d", DIR), file("d/x"))) as (place, _):
        assert not (place / "d").is_symlink()
        assert (place / "d/x").exists()
    assert list(outside.iterdir()) == []


def test_a_directory_that_becomes_a_link_takes_nothing_along(tmp_path: Path) -> None:
    archive = tar(entry("d", DIR), entry("d", LINK, str(tmp_path)), file("d/x"))
    refused(tmp_path, archive, "'d/x' cannot be reached")
    refused(tmp_path, tar(file("d/x"), entry("d", LINK, "/")), "'d' takes the place of a directory that is not empty")


@pytest.mark.parametrize("target", ["../../etc/passwd", "a/../..", ""])
def test_a_hard_link_out_of_the_tree_is_refused(tmp_path: Path, target: str) -> None:
    refused(tmp_path, tar(entry("hard", HARD, target)), "hard link to what is outside")


def test_a_hard_link_is_one_to_a_link_and_not_to_what_that_names(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    archive = tar(entry("link", LINK, str(victim)), entry("hard", HARD, "link"), file("hard", b"theirs"))
    with unpacked(tmp_path, archive) as (place, _):
        assert (place / "hard").read_bytes() == b"theirs"
    assert victim.stat().st_nlink == 1 and victim.read_text() == "mine"


def test_a_hard_link_to_what_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(entry("hard", HARD, "/etc/passwd")), "hard link to '/etc/passwd', which is not there")
    refused(tmp_path, tar(entry("d", DIR), entry("hard", HARD, "d")), "hard link to a directory")


def test_writing_over_a_hard_link_leaves_the_other_name_alone(tmp_path: Path) -> None:
    archive = tar(file("one", b"first"), entry("two", HARD, "one"), file("two", b"second"), file("one", b"third"))
    with unpacked(tmp_path, archive) as (place, _):
        assert [(place / name).read_bytes() for name in ("one", "two")] == [b"third", b"second"]


def test_a_whiteout_hides_what_is_below_and_nothing_of_its_own_layer(tmp_path: Path) -> None:
    archive = tar(
        entry("etc", DIR),
        file("etc/.wh.gone", b""),
        entry("var", DIR),
        file("var/.wh..wh..opq", b""),
        file("etc/kept"),
        file("etc/.wh.kept", b""),
        file(".wh..wh.plnk", b""),
    )
    with unpacked(tmp_path, archive) as (place, work):
        gone = (place / "etc/gone").stat()
        assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
        assert os.getxattr(place / "var", "user.overlay.opaque") == b"y"
        assert (place / "etc/kept").read_bytes() == b"content"
        assert work.left_out == {"mark of aufs": 1}


def test_a_directory_after_its_whiteout_hides_what_is_below_it(tmp_path: Path) -> None:
    for archive in (tar(file(".wh.d", b""), entry("d", DIR)), tar(entry("d", DIR), file(".wh.d", b""))):
        with unpacked(tmp_path, archive) as (place, _):
            assert os.getxattr(place / "d", "user.overlay.opaque") == b"y"


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_a_whiteout_of_no_name_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, tar(entry("d", DIR), file(name, b"")), "hides something without a name")


def test_orders_to_overlayfs_and_labels_of_the_host_are_left_out(tmp_path: Path) -> None:
    orders = ("user.overlay.opaque", "trusted.overlay.redirect", "security.selinux", "security.ima")
    headers = {f"SCHILY.xattr.{key}": "y" for key in (*orders, "user.mine")}
    archive = tar(entry("d", DIR, pax_headers=headers), entry("null", CHR, devmajor=0, devminor=0))
    with unpacked(tmp_path, archive) as (place, work):
        assert os.listxattr(place / "d") == ["user.mine"]
        assert not (place / "null").exists()
        assert work.left_out == {
            "attribute of overlayfs": 2,
            "label of another host's security module": 2,
            "device 0:0": 1,
        }


@pytest.mark.parametrize(
    ("limit", "archive"),
    [
        (Limits(entries=2), tar(file("a"), file("b"), file("c"))),
        (Limits(bytes=20000), tar(file("a", b"x" * 20000))),
        (Limits(file_bytes=10), tar(file("a", b"x" * 11))),
        (Limits(name_bytes=300), tar(file("a/" * 151))),
        (Limits(depth=10), tar(file("a/" * 10 + "b"))),
    ],
)
def test_a_limit_is_named_where_an_archive_exceeds_it(tmp_path: Path, limit: Limits, archive: bytes) -> None:
    refused(tmp_path, archive, "exceeds the limit of (entries|bytes|a file's bytes|a name's bytes|depth),", limit)


def test_every_cut_of_an_archive_is_noticed(tmp_path: Path) -> None:
    archive = tar(entry("d", DIR), file("d/x", b"x" * 1000), file("y" * 200, b"z"))
    end = len(archive.rstrip(b"\0")) + 511 & ~511
    for length in (*range(0, end, 97), 512, 1024, end):
        refused(tmp_path, archive[:length], "truncated|no archive that can be read")


def test_what_follows_the_end_of_an_archive_is_kept(tmp_path: Path) -> None:
    with unpacked(tmp_path, tar(file("x")) + b"more") as (place, _):
        assert os.listdir(place) == ["x"]


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    archive = bytearray(tar(file("a"), file("b"), form=tarfile.GNU_FORMAT))
    archive[1024] ^= 1
    refused(tmp_path, bytes(archive), "the sum of a header is wrong")


def test_an_id_that_means_no_change_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(file("x", uid=0xFFFFFFFF)), "belongs to an id that cannot be")


def test_a_replaced_file_gives_its_first_content_back_too(tmp_path: Path) -> None:
    archive = tar(file("x", b"first" * 999), file("d/x", b"y"), file("x", b"second"), entry("x", DIR), file("x/y"))
    with unpacked(tmp_path, archive) as (place, _):
        assert (place / "x/y").read_bytes() == b"content"
        assert sorted(os.listdir(f"{place}.kept")) == ["0", "2"]


def sparse_tar(form: str, tmp_path: Path) -> bytes:
    """What GNU tar makes of a file with three pieces in 10 MB."""
    import subprocess

    with open(tmp_path / "sparse", "wb") as out:
        for at in (4096, 1 << 20, 5 << 20):
            out.seek(at)
            out.write(b"data" * 1024)
        out.truncate(10_000_000)
    argv = ["tar", "-C", str(tmp_path), "--sparse", *form.split(), "-cf", "-", "sparse"]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize(
    "form", ["--format=gnu", *(f"--format=pax --sparse-version={version}" for version in ("0.0", "0.1", "1.0"))]
)
def test_a_sparse_file_stays_sparse(tmp_path: Path, form: str) -> None:
    archive = sparse_tar(form, tmp_path)
    assert len(archive) < 100_000
    with unpacked(tmp_path, archive) as (place, _):
        assert (place / "sparse").read_bytes() == (tmp_path / "sparse").read_bytes()
        assert (place / "sparse").stat().st_blocks * 512 < 1_000_000


def test_zeros_become_a_hole_where_an_archive_cannot_say_so(tmp_path: Path) -> None:
    content = bytes(3 << 20) + b"x" + bytes(5 << 20)
    with unpacked(tmp_path, tar(file("zeros", content), file("all", bytes(1 << 20)))) as (place, _):
        assert (place / "zeros").read_bytes() == content
        assert (place / "all").read_bytes() == bytes(1 << 20)
        assert (place / "zeros").stat().st_blocks * 512 < 200_000


def test_acls_of_tar_become_those_of_the_files(tmp_path: Path) -> None:
    headers = {
        "SCHILY.acl.access": "user::rw-,user:1000:r--,group::r--,mask::r--,other::---",
        "SCHILY.acl.default": "user::rwx\ngroup::r-x\nother::---",
    }
    archive = tar(entry("d", DIR, pax_headers={"SCHILY.acl.default": headers["SCHILY.acl.default"]}), file("d/x"))
    with unpacked(tmp_path, archive) as (place, work):
        if not work.left_out:
            assert len(os.getxattr(place / "d", "system.posix_acl_default")) == 4 + 3 * 8
            assert os.listxattr(place / "d/x") == []  # made before its directory got the default


def test_an_acl_of_names_is_left_out_and_counted_unless_its_numbers_are_there_too(tmp_path: Path) -> None:
    text = {"SCHILY.acl.access": "user::rw-,group::r--,group:adm:r-x,mask::r-x,other::r--"}
    key = "system.posix_acl_access"
    value = packed(b"user::rw-,group::r--,group:4:r-x,mask::r-x,other::r--")
    assert value is not None
    numbers = {f"SCHILY.xattr.{key}": value.decode("latin-1")}
    with unpacked(tmp_path, tar(file("x", b"1", pax_headers=text))) as (place, work):
        assert work.left_out == {"ACL that names users without their numbers": 1}
        assert os.listxattr(place / "x") == []
    extra = pax.Extra({}, {})
    for records in (text | numbers, numbers | text):
        pax.add(b"".join(record(name, value) for name, value in records.items()), extra)
        assert extra.xattrs == {key: value}


def record(key: str, value: str) -> bytes:
    """A PAX record, whose length counts itself."""
    rest = b" " + key.encode() + b"=" + value.encode("latin-1") + b"\n"
    length = next(number for number in range(len(rest), len(rest) + 9) if number == len(rest) + len(str(number)))
    return str(length).encode() + rest


def test_a_hostile_map_of_a_sparse_file_is_refused(tmp_path: Path) -> None:
    for numbers in ("0,5,3,2", "0,100", "5", "0,-5", "9,1,x,1"):
        headers = {"GNU.sparse.map": numbers, "GNU.sparse.size": "20", "GNU.sparse.name": "x"}
        refused(tmp_path, tar(file("x", b"1234567", pax_headers=headers)), "sparse file|no number")


def test_the_first_bytes_name_what_is_no_archive(tmp_path: Path) -> None:
    for start, name in ((b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"\x04\x22\x4d\x18", "lz4")):
        refused(tmp_path, start + bytes(600), f"it looks like {name}")
    refused(tmp_path, b"hello, world", "its first bytes are b'hello,'")
    refused(tmp_path, b"", "truncated")
    refused(tmp_path, b"cloison-instance 1\n" + bytes(600), "this is an exported instance")
    refused(tmp_path, gzip.compress(b"cloison-instance 1\n" + b"x" * 600), "this is an exported instance")
    refused(tmp_path, gzip.compress(b"hello, world" * 99), "its first bytes are b'hello,'")


def test_a_reader_that_fails_is_the_reason_that_is_given(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield from chunks(tar(file("x", b"x" * 100_000)))
        raise ConnectionResetError("the line is dead")

    store = ImageStore(f"{tmp_path}/images")
    with pytest.raises(ConnectionResetError), store.incoming() as work:
        work.unpack(broken())
    assert os.listdir(store.tmp_dir) == []


def test_an_archive_may_come_a_byte_at_a_time(tmp_path: Path) -> None:
    archive = tar(file("x", b"y" * 3000))
    with ImageStore(f"{tmp_path}/images").incoming() as work:
        assert work.unpack(chunks(archive, 1)).size_bytes == len(archive)
