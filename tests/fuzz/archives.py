"""Archives that begin as sound ones and are changed at random, unpacked where every byte outside is watched.

`make fuzz` runs this file, and lets atheris choose the changes by what code they reach; the test
tests/integration/images/test_fuzzing.py lets chance choose them for a few seconds.
"""

import contextlib
import io
import os
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

NAMES = ("a", "b", "d", "d/x", "d/y/z", "l", "l/x", "./", "../o", "/o", ".wh.a", "d/.wh..wh..opq", ".wh...", "n" * 120)
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
RECORDS = (
    "SCHILY.xattr.user.x",
    "SCHILY.xattr.user.overlay.opaque",
    "SCHILY.acl.default",
    "GNU.sparse.map",
    "GNU.sparse.size",
    "GNU.sparse.major",
    "GNU.sparse.name",
    "path",
    "linkpath",
    "size",
    "mtime",
    "uid",
)
VALUES = ("", "0", "1", "5", "0,5", "0,3,10,2", "user::rwx,group::r-x,other::---", "../o/victim", "-1", "9" * 19, "y")


def seed(chance: random.Random, outside: str) -> bytes:
    """An archive of a few members that say strange things."""
    out = io.BytesIO()
    form = chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for _ in range(chance.randrange(1, 9)):
            info = tarfile.TarInfo(chance.choice(NAMES))
            info.type = chance.choice(KINDS)
            info.linkname = chance.choice((*NAMES, outside, f"{outside}/victim", "../" * 20 + outside[1:]))
            info.mode = chance.randrange(0o10000)
            info.uid = chance.choice((0, 1, 1 << 20))
            info.mtime = chance.choice((0, 1_600_000_000, 1 << 33))
            info.devmajor, info.devminor = chance.choice(((0, 0), (1, 3)))
            info.size = chance.choice((0, 5, 512, 700)) if info.type == tarfile.REGTYPE else 0
            if form == tarfile.PAX_FORMAT and chance.random() < 0.4:
                info.pax_headers = {chance.choice(RECORDS): chance.choice(VALUES)}
            with contextlib.suppress(ValueError, tarfile.TarError):
                archive.addfile(info, io.BytesIO(b"x" * info.size))
    return out.getvalue()


def changed(chance: random.Random, archive: bytes) -> bytes:
    """The same with some bytes changed; the sums of headers are made right again, so that more than these is tested."""
    content = bytearray(archive)
    for _ in range(chance.randrange(0, 6)):
        at = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                content[at] = chance.randrange(256)
            case 1:
                del content[at : at + chance.randrange(600)]
            case 2:
                content[at:at] = chance.choice((b"\0", b"7", b"\x80", b"/..", b"../", b"\n", bytes(512)))
            case _:
                block = at // 512 * 512
                content[block : block + 512] = content[-10240:][: 512 * chance.randrange(2)] or bytes(512)
        if not content:
            return b""
    return summed(content) if chance.random() < 0.8 else bytes(content)


def summed(content: bytearray) -> bytes:
    """The archive with right sums in whatever looks like a header."""
    for at in range(0, len(content) - 511, 512):
        header = content[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            content[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(content)


class Ground:
    """Where archives are unpacked, and what must not change beside it."""

    def __init__(self, place: str) -> None:
        from cloison.images import ImageStore

        self.outside = f"{place}/outside"
        os.mkdir(self.outside)
        Path(self.outside, "victim").write_text("mine")
        os.utime(f"{self.outside}/victim", (5, 5))
        os.utime(self.outside, (5, 5))
        os.chdir(self.outside)
        self.store = ImageStore(f"{place}/store")
        self.store.prepare()
        self.place = place
        self._before = self._look()

    def _look(self) -> tuple[object, ...]:
        victim, directory = os.lstat(f"{self.outside}/victim"), os.lstat(self.outside)
        facts = [(each.st_mode, each.st_uid, each.st_nlink, each.st_mtime_ns) for each in (victim, directory)]
        attributes = os.listxattr(self.outside), os.listxattr(f"{self.outside}/victim")
        content = Path(self.outside, "victim").read_text()
        return facts, content, attributes, os.listdir(self.outside), sorted(os.listdir(self.place))

    def take(self, archive: bytes) -> bool:
        """Unpack an archive: it is refused in words, or its stream comes back whole. Whether it was unpacked."""
        from cloison.base.errors import CloisonError
        from cloison.images.layers import stream
        from cloison.images.limits import Limits

        limits = Limits(bytes=1 << 24, file_bytes=1 << 30, entries=1000, depth=50)
        is_whole = False
        with self.store.incoming(limits) as work, contextlib.suppress(CloisonError):
            layer = work.unpack(iter((archive[:700], archive[700:])))
            assert layer.size_bytes == len(archive)
            assert b"".join(stream(work.directories((layer,))[0])) == archive
            is_whole = True
        assert self._look() == self._before, archive
        assert os.listdir(self.store.tmp_dir) == []
        return is_whole


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """A ground that is removed at the end."""
    place = tempfile.mkdtemp(prefix="cloison-fuzz-")
    before = os.getcwd()
    try:
        yield Ground(place)
    finally:
        os.chdir(before)
        shutil.rmtree(place)


def by_chance(seconds: float, number: int) -> tuple[int, int]:
    """Unpack archives for so long; how many there were, and how many were unpacked. `number` begins the chance."""
    end = time.monotonic() + seconds
    count = whole = 0
    with ground() as where:
        while time.monotonic() < end:
            chance = random.Random(number + count)
            archive = changed(chance, seed(chance, where.outside))
            try:
                whole += where.take(archive)
            except BaseException as failure:
                failure.add_note(f"random.Random({number + count}): {archive!r}")
                raise
            count += 1
    return count, whole


def main() -> None:
    """By coverage, with atheris; its options are libFuzzer's."""
    atheris: Any = import_module("atheris")  # which there is for some versions of Python only, and not for tests
    with atheris.instrument_imports(include=["cloison.images"]):
        import cloison.images.archives.importing
        import cloison.images.incoming
        import cloison.images.unpack  # noqa: F401

    directory = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if directory and not os.listdir(directory):
        for number in range(100):
            archive = seed(random.Random(number), "/o")
            Path(directory, str(number)).write_bytes(b"\1000" + archive)

    with ground() as where:

        def one(data: bytes) -> None:
            if len(data) > 8:
                chance = random.Random(data[:4])
                where.take(summed(bytearray(data[4:])) if data[0] & 1 else changed(chance, seed(chance, where.outside)))

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
