"""Trees as streams of bytes: what one pool sends, another receives, of whatever driver."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.storage.driver import Driver
from tests.integration.storage.conftest import content, pool_of, seen
from tests.integration.storage.test_driver_trees import expect_furnished, furnish

pytestmark = pytest.mark.needs_root


@pytest.fixture(params=["overlay", "dir", "btrfs", "loop"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    place = tmp_path / "other"
    place.mkdir()
    with pool_of(str(request.param), place) as found:
        yield found


def test_what_was_sent_arrives_whole_and_as_a_change(pool: Driver, other: Driver, layers: tuple[str, ...]) -> None:
    first = pool.snapshot(pool.create(layers))
    with seen(pool, first.present) as root:
        furnish(root)
        (root / "etc/hostname").write_text("second")
        (root / "etc/passwd").unlink()
        (root / "bin/su").unlink()
        (root / "bin/su").mkdir()
        for name in (root / "var/opaque").iterdir():
            name.unlink()
        (root / "var/opaque").rmdir()
    second = pool.snapshot(first.present)
    begun = other.receive(pool.send(first.frozen), layers)
    assert begun.is_frozen and content(other, begun) == content(pool, first.frozen)
    changed = other.receive(pool.send(second.frozen, first.frozen), layers, begun)
    assert content(other, changed) == content(pool, second.frozen)
    with seen(other, changed) as root:
        expect_furnished(root)
    whole = other.receive(pool.send(second.frozen), layers)
    assert content(other, whole) == content(pool, second.frozen)
    assert content(other, begun) == content(pool, first.frozen)


def test_a_change_is_small(pool: Driver, layers: tuple[str, ...]) -> None:
    Path(layers[1], "large").write_bytes(os.urandom(1 << 20))
    first = pool.snapshot(pool.create(layers))
    with seen(pool, first.present) as root:
        (root / "etc/hostname").write_text("second")
    second = pool.snapshot(first.present)
    assert sum(map(len, pool.send(second.frozen, first.frozen))) < 4096


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_stream_leaves_nothing(pool: Driver, layers: tuple[str, ...], harm: str) -> None:
    frozen = pool.snapshot(pool.create(layers)).frozen
    with seen(pool, pool.clone(frozen)):
        stream = b"".join(pool.send(frozen))
    before = pool.names()
    flipped = stream[:-40] + bytes([stream[-40] ^ 1]) + stream[-39:]
    harmed = {"cut": stream[:-50], "flipped": flipped, "empty": b"", "foreign": b"ustar" * 1000}[harm]
    with pytest.raises(Invalid, match="the stream of files is damaged"):
        pool.receive(iter([harmed]), layers)
    assert pool.names() == before


def test_a_change_needs_what_it_is_a_change_of(pool: Driver, layers: tuple[str, ...]) -> None:
    first = pool.snapshot(pool.create(layers))
    second = pool.snapshot(first.present)
    stream = b"".join(pool.send(second.frozen, first.frozen))
    with pytest.raises(Invalid, match="only what has changed"):
        pool.receive(iter([stream]), layers)
    with pytest.raises(Invalid, match="no change of another"):
        pool.receive(pool.send(first.frozen), layers, first.frozen)


def test_a_stream_may_come_in_pieces_of_any_size(pool: Driver, layers: tuple[str, ...]) -> None:
    frozen = pool.snapshot(pool.create(layers)).frozen
    stream = b"".join(pool.send(frozen))
    pieces = (stream[at : at + 7] for at in range(0, len(stream), 7))
    assert content(pool, pool.receive(pieces, layers)) == content(pool, frozen)
