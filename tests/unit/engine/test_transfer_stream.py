"""The stream of an exported instance: whole, or refused."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid, Unsupported
from cloison.engine.transfer_stream import COMPRESSIONS, MAGIC, Reader, Section, encoded

KINDS = [("instance", {}, b"{}"), ("layer", {"diff_id": "sha256:0"}, b"x" * 3_000_000), ("tree", {"of": ""}, b"")]


def sections() -> Iterator[Section]:
    for kind, about, data in KINDS:
        yield Section(kind, about, (data[:1000], data[1000:]))


def stream(compression: str) -> bytes:
    return b"".join(encoded(sections(), compression=compression))


def read(data: bytes, size: int = 1 << 16) -> list[tuple[str, dict[str, str], bytes]]:
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    return [(each.kind, each.about, b"".join(each.chunks)) for each in Reader(chunks).sections()]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("size", [7, 65536, 1 << 24])
def test_what_was_written_is_read(compression: str, size: int) -> None:
    data = stream(compression)
    assert len(data) < 100_000 or compression == "none"
    if size > 7 or compression == "zstd":
        assert read(data, size) == KINDS


def test_a_section_that_nobody_reads_is_passed_over() -> None:
    found = [each.kind for each in Reader([stream("none")]).sections()]
    assert found == ["instance", "layer", "tree"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_whatever_is_cut_off_is_refused(compression: str) -> None:
    data = stream(compression)
    for end in itertools.chain(range(0, 200), range(200, len(data), max(1, len(data) // 50)), range(-100, 0)):
        with pytest.raises(Invalid):
            read(data[:end])


@given(st.data())
def test_whatever_is_changed_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from(COMPRESSIONS))
    whole = bytearray(STREAMS[compression])
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(whole))
    except (Invalid, Unsupported):
        return
    assert compression == "zstd"  # whose first bytes say how much memory it takes
    assert found == KINDS


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_comes_after_the_end_is_refused(compression: str) -> None:
    with pytest.raises(Invalid, match="after its end"):
        read(stream(compression) + b"x")


def test_another_form_is_told_from_another_file() -> None:
    with pytest.raises(Unsupported, match="the form 2, and this cloison reads forms up to 1"):
        read(MAGIC.replace(b"1", b"2") + b"whatever")
    for other in (b"", b"PK\x03\x04" + b"\0" * 1000, b"cloison-instance x\n", b"\x28\xb5\x2f\xfdxxxx"):
        with pytest.raises(Invalid):
            read(other)


def test_a_compression_that_there_is_not_is_refused() -> None:
    with pytest.raises(Invalid, match="'lzma'"):
        encoded(sections(), compression="lzma")


STREAMS = {compression: stream(compression) for compression in COMPRESSIONS}
