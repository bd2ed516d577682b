import bz2
import gzip
import lzma
import random
from collections.abc import Callable

import pytest
import zstandard

from cloison.base.errors import Invalid
from cloison.images.compression import kind_of, plain
from tests.unit.images.archives import chunks, file, tar

ARCHIVE = tar(file("x", random.Random(1).randbytes(300_000)), file("zeros", bytes(3_000_000)))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": bz2.compress,
    "zstd": zstandard.compress,
}
PACKED = {kind: compress(ARCHIVE) for kind, compress in COMPRESS.items()}


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_compressed_comes_out_as_it_was(kind: str) -> None:
    assert kind_of(PACKED[kind][:512]) == kind
    for size in (1 << 20, 4096, 1000):
        assert b"".join(plain(chunks(PACKED[kind], size))) == ARCHIVE


@pytest.mark.parametrize("kind", PACKED)
def test_no_piece_is_large_however_well_it_compressed(kind: str) -> None:
    assert max(len(piece) for piece in plain([PACKED[kind]])) <= 1 << 20


@pytest.mark.parametrize("kind", PACKED)
def test_two_runs_after_each_other_are_one_stream(kind: str) -> None:
    both = COMPRESS[kind](ARCHIVE[:1000]) + COMPRESS[kind](ARCHIVE[1000:]) + bytes(3000)
    for size in (1 << 20, 1):
        assert b"".join(plain(chunks(both, max(size, 211)))) == ARCHIVE


@pytest.mark.parametrize("kind", PACKED)
def test_every_cut_of_it_is_noticed(kind: str) -> None:
    packed = PACKED[kind]
    for length in (len(packed) - 1, len(packed) // 2, 700):
        with pytest.raises(Invalid, match="truncated"):
            list(plain(chunks(packed[:length])))


@pytest.mark.parametrize("kind", PACKED)
def test_damage_and_what_follows_are_noticed(kind: str) -> None:
    packed = bytearray(PACKED[kind])
    packed[len(packed) // 2] ^= 0xFF
    if kind != "zstd":  # zstd's frames have a checksum only where their maker wanted one
        with pytest.raises(Invalid, match=f"{kind} compression is damaged"):
            list(plain([bytes(packed)]))
    with pytest.raises(Invalid, match="followed by something else"):
        list(plain([PACKED[kind] + b"trailing rubbish"]))
