"""Archives made for harm, unpacked by root, leave no byte outside: what there is around is looked at afterwards."""

import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cloison.base.errors import CloisonError
from cloison.images import ImageStore
from cloison.images.incoming import Incoming
from cloison.images.limits import Limits
from tests.integration.images.conftest import CAPABILITY, portrait
from tests.unit.images.archives import chunks, entry, file, tar

pytestmark = pytest.mark.needs_root

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
CHR, BLK, FIFO = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
FORMS = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)


def _escapes(out: str) -> dict[str, bytes]:
    """Ways out of a directory; `out` is where they lead, absolute, with a file `victim` in it."""
    up = "../" * 30 + out.lstrip("/")
    found: dict[str, bytes] = {}
    for form in FORMS:
        for way, target in (("absolute", out), ("up", up)):
            found |= {
                f"{way} name {form}": tar(file(f"{target}/new"), form=form),
                f"{way} directory {form}": tar(entry(f"{target}/new", DIR), form=form),
                f"{way} link then file {form}": tar(entry("l", LINK, target), file("l/new"), form=form),
                f"{way} link over victim {form}": tar(entry("l", LINK, target), file("l/victim"), form=form),
                f"{way} file link {form}": tar(entry("l", LINK, f"{target}/victim"), file("l"), form=form),
                f"{way} hard link {form}": tar(entry("h", HARD, f"{target}/victim"), file("h"), form=form),
                f"{way} hard link through link {form}": tar(
                    entry("l", LINK, target), entry("h", HARD, "l/victim"), file("h"), form=form
                ),
                f"{way} link by link {form}": tar(
                    entry("a", LINK, "b"), entry("b", LINK, target), file("a/new"), form=form
                ),
                f"{way} nested links {form}": tar(
                    entry("d", DIR), entry("d/l", LINK, target), entry("m", LINK, "d/l"), file("m/new"), form=form
                ),
                f"{way} directory becomes link {form}": tar(
                    entry("d", DIR), file("d/x"), entry("d", LINK, target), file("d/new"), form=form
                ),
                f"{way} empty directory becomes link {form}": tar(
                    entry("d", DIR), entry("d", LINK, target), file("d/new"), form=form
                ),
                f"{way} attributes by link {form}": tar(
                    entry("l", LINK, target), entry("l", DIR, mode=0o777, uid=1), form=form
                ),
                f"{way} mode of victim {form}": tar(
                    entry("l", LINK, f"{target}/victim"), entry("l", LINK, f"{target}/victim", mode=0o4777), form=form
                ),
                f"{way} whiteout {form}": tar(entry("l", LINK, target), file("l/.wh.victim", b""), form=form),
                f"{way} opaque {form}": tar(entry("l", LINK, target), file("l/.wh..wh..opq", b""), form=form),
                f"{way} device {form}": tar(
                    entry("l", LINK, target), entry("l/new", CHR, devmajor=1, devminor=3), form=form
                ),
                f"{way} fifo {form}": tar(entry("l", LINK, target), entry("l/new", FIFO), form=form),
                f"{way} implied directories {form}": tar(entry("l", LINK, target), file("l/a/b/new"), form=form),
                f"{way} root becomes link {form}": tar(entry("./", LINK, target), file("new"), form=form),
                f"{way} whiteout of above {form}": tar(file(".wh...", b""), file("new"), form=form),
            }
    found["proc"] = tar(entry("p", LINK, "/proc/self/cwd"), file("p/new"), file("p/victim"))
    found["proc root"] = tar(entry("p", LINK, f"/proc/1/root{out}"), file("p/new"))
    found["path record"] = tar(
        file("x", pax_headers={"path": f"{up}/new"}), file("y", pax_headers={"path": f"{out}/new"})
    )
    found["link record"] = tar(entry("x", LINK, "ok", pax_headers={"linkpath": out}), file("x/new"))
    return found


def _mayhem(out: str) -> dict[str, bytes]:
    """What is wrong in other ways."""
    good = tar(entry("d", DIR), file("d/x", b"y" * 3000))
    return {
        "size beyond": good[:124] + b"77777777777\0" + good[136:],
        "nameless": tar(file("")),
        "only slashes": tar(file("///")),
        "long name": tar(file("n" * 300)),
        "file as directory": tar(file("f"), file("f/x")),
        "link to itself": tar(entry("l", LINK, "l"), file("l/x")),
        "links in a circle": tar(entry("a", LINK, "b"), entry("b", LINK, "a"), file("a/x")),
        "hard link to itself": tar(entry("h", HARD, "h")),
        "device number": tar(entry("dev", BLK, devmajor=0o7777777, devminor=0o7777777)),
        "negative time": tar(file("x", mtime=-(1 << 40))),
        "far time": tar(file("x", mtime=1 << 60, pax_headers={"mtime": "99999999999999999999"})),
        "big id": tar(file("x", uid=1 << 31, gid=1 << 31)),
        "every kind after another": tar(
            *(entry("x", kind, "victim") for kind in (DIR, LINK, FIFO, CHR)), file("x"), entry("x", DIR)
        ),
        "attribute of anything": tar(file("x", pax_headers={"SCHILY.xattr.trusted.x": "y", "SCHILY.xattr.": "y"})),
        "long attribute": tar(file("x", pax_headers={"SCHILY.xattr.user." + "n" * 300: "y"})),
        "acl": tar(file("x", pax_headers={"SCHILY.acl.access": f"user:{out}:rwx"})),
    }


def corpus(out: str) -> dict[str, bytes]:
    """All of them."""
    return _escapes(out) | _mayhem(out)


NAMES = tuple(corpus("/x"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_outside_is_touched(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    os.utime(outside / "victim", (5, 5))
    os.utime(outside, (5, 5))
    monkeypatch.chdir(outside)
    before = portrait(outside), sorted(os.listdir(tmp_path)), sorted(os.listdir("/"))
    store = ImageStore(f"{tmp_path}/store")
    store.prepare()
    refused = ""
    with store.incoming() as work:
        try:
            layer = work.unpack(chunks(corpus(str(outside))[name]))
        except CloisonError as problem:
            refused = problem.sentence
        else:
            place = Path(work.directories((layer,))[0])
            assert all(os.stat(path, follow_symlinks=False).st_nlink for path in place.rglob("*"))
        assert (portrait(outside), sorted(os.listdir(tmp_path)), sorted(os.listdir("/"))) == (
            before[0],
            sorted([*before[1], "store"]),
            before[2],
        )
    assert (outside / "victim").stat().st_nlink == 1
    assert portrait(outside) == before[0]
    assert os.listdir(store.tmp_dir) == []
    if any(word in name for word in ("up name", "up directory", "up hard", "up link then", "proc root", "record")):
        assert refused


def unpacked(tmp_path: Path, archive: bytes, check: Callable[[Path, Incoming], None]) -> None:
    """Unpack, and look at it while it is there."""
    with ImageStore(f"{tmp_path}/store").incoming() as work:
        layer = work.unpack(chunks(archive))
        check(Path(work.directories((layer,))[0]), work)


def test_powers_of_files_are_kept_and_those_of_others_are_not(tmp_path: Path) -> None:
    capability = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}
    archive = tar(
        file("su", mode=0o6755, uid=33, gid=44, pax_headers=capability),
        entry("pipe", FIFO, mode=0o6777),
        entry("null", CHR, mode=0o6666, devmajor=1, devminor=3),
        entry("disk", BLK, mode=0o660, devmajor=8, devminor=0, gid=6),
    )

    def check(place: Path, work: Incoming) -> None:
        su = (place / "su").stat()
        assert (stat.S_IMODE(su.st_mode), su.st_uid, su.st_gid) == (0o6755, 33, 44)
        assert os.getxattr(place / "su", "security.capability") == CAPABILITY
        assert stat.S_IMODE((place / "pipe").stat().st_mode) == 0o777
        null, disk = (place / "null").stat(), (place / "disk").stat()
        assert (null.st_rdev, stat.S_IMODE(null.st_mode)) == (os.makedev(1, 3), 0o666)
        assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev, disk.st_gid) == (True, os.makedev(8, 0), 6)
        assert not work.left_out
        for above in Path(work.path).parents:
            if above.name == "store":
                assert stat.S_IMODE(above.stat().st_mode) == 0o700  # so that nobody reaches any of these
                return
        raise AssertionError("the workspace is not in the store")

    unpacked(tmp_path, archive, check)


def test_a_bomb_ends_at_its_limit(tmp_path: Path) -> None:
    zeros = bytes(1 << 20)

    header = bytearray(tar(file("zeros", b""))[:512])
    header[124:136] = b"\x80" + struct.pack(">Q", 1 << 40).rjust(11, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    packer = zlib.compressobj(9, wbits=31)
    packed = [packer.compress(bytes(header)), *(packer.compress(zeros) for _ in range(1200)), packer.flush()]
    store = ImageStore(f"{tmp_path}/store")
    for limits, name in ((Limits(bytes=50 << 20), "bytes"), (Limits(), "ratio")):
        with store.incoming(limits) as work, pytest.raises(CloisonError, match=f"exceeds the limit of {name},"):
            work.unpack(iter(packed))
