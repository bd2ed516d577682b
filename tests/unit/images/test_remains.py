"""What a download leaves behind, and who may take it."""

import contextlib
import os
from pathlib import Path

import pytest

from cloison.base.errors import NoSpace
from cloison.images import ImageStore, remains
from cloison.images.incoming import Incoming
from cloison.images.layout import Layer, hex_of
from cloison.images.workspace import put_away, rubbish
from tests.unit.images.archives import chunks, file, tar
from tests.unit.images.conftest import facts
from tests.unit.images.test_incoming import config, digest

ONE, BLOB = tar(file("one", b"1" * 5000)), digest(b"blob")
TWICE = tar(file("one", b"1" * 50), file("one", b"2"))  # the first is kept beside the layer


def leave(store: ImageStore, content: bytes = ONE, part: bytes = b"") -> None:
    """A download that has brought one layer, and the beginning of a blob, and breaks off."""
    with contextlib.suppress(InterruptedError), store.incoming(is_resumable=True) as work:
        work.note(work.unpack(chunks(content)))
        add(work, part)
        raise InterruptedError


def add(work: Incoming, content: bytes, size: int = 100) -> bytes:
    """Add to a part; what was there before."""
    with contextlib.closing(work.part(BLOB, size)) as part:
        before = b"".join(part.before())
        part.add(content)
    return before


def test_layers_and_parts_are_taken_over(store: ImageStore) -> None:
    leave(store, TWICE, b"begin")
    with store.incoming(is_resumable=True) as work:
        assert work.layer_of(digest(TWICE)) is None
        work.take_over([digest(TWICE), digest(b"another")], [BLOB])
        layer = work.layer_of(digest(TWICE))
        assert layer is not None and add(work, b"") == b"begin"
        work.finish(config(layer), facts("x"), (layer,))
    assert b"".join(store.stream(layer.diff_id)) == TWICE


def test_what_was_taken_over_is_left_behind_again(store: ImageStore) -> None:
    leave(store, part=b"be")
    for _ in range(2):
        with contextlib.suppress(InterruptedError), store.incoming(is_resumable=True) as work:
            work.take_over([digest(ONE)], [BLOB])
            add(work, b"+")
            raise InterruptedError
    with store.incoming(is_resumable=True) as work:
        work.take_over([digest(ONE)], [BLOB])
        assert work.has_layer(digest(ONE)) and add(work, b"") == b"be++"


def test_what_is_about_to_be_deleted_is_not_taken_over(store: ImageStore) -> None:
    """Deleting takes long, and is done without the store's lock."""
    leave(store, part=b"begin")
    assert len(put_away(rubbish(store.tmp_dir))) == 1
    with store.incoming(is_resumable=True) as work:
        work.take_over([digest(ONE)], [BLOB])
        assert not work.has_layer(digest(ONE)) and add(work, b"") == b""
    assert len(store.clean()) == 0 and os.listdir(store.tmp_dir) == []


def test_a_layer_without_its_mark_is_not_taken_over(store: ImageStore) -> None:
    """It was not held against all its digests yet; or somebody died who was about to take it over."""
    leave(store)
    (mark,) = Path(store.tmp_dir).glob("*/whole/*")
    content = mark.read_bytes()
    for broken in (b"", content[:-5]):
        mark.write_bytes(broken)
        with store.incoming(is_resumable=True) as work:
            work.take_over([digest(ONE)], [])
            assert not work.has_layer(digest(ONE))
    mark.unlink()
    with store.incoming(is_resumable=True) as work:
        work.take_over([digest(ONE)], [])
        assert not work.has_layer(digest(ONE))


def test_what_is_of_use_for_others_stays(store: ImageStore) -> None:
    leave(store)
    leave(store, TWICE, b"begin")
    with store.incoming(is_resumable=True) as work:
        work.take_over([digest(ONE)], [])
        assert len(os.listdir(store.tmp_dir)) == 2  # the one that is spent is in this one
    with store.incoming(is_resumable=True) as work:
        work.take_over([digest(TWICE)], [])
        assert work.has_layer(digest(TWICE)) and len(os.listdir(store.tmp_dir)) == 2  # there still is a part
        work.take_over([], [BLOB])
        assert add(work, b"") == b"begin" and len(os.listdir(store.tmp_dir)) == 1
    assert os.listdir(store.tmp_dir) == []


def test_the_longest_part_is_taken_over(store: ImageStore) -> None:
    for part in (b"beg", b"beginning", b"begin"):
        leave(store, part=part)
    with store.incoming(is_resumable=True) as work:
        work.take_over([], [BLOB])
        assert add(work, b"") == b"beginning"


def test_a_part_that_is_longer_than_its_blob_is_none(store: ImageStore) -> None:
    leave(store, part=b"begin")
    with store.incoming(is_resumable=True) as work:
        work.take_over([], [BLOB])
        assert add(work, b"new", size=4) == b"" and add(work, b"") == b"new"


def test_where_the_disk_may_become_full_nothing_is_added(store: ImageStore) -> None:
    with store.incoming(is_resumable=True) as work:
        add(work, b"x", size=1 << 60)
        assert add(work, b"") == b""


def test_where_the_disk_is_full_nothing_is_left(store: ImageStore) -> None:
    with pytest.raises(NoSpace), store.incoming(is_resumable=True) as work:
        work.note(work.unpack(chunks(ONE)))
        raise OSError(28, "No space left on device")
    assert os.listdir(store.tmp_dir) == []


def test_nothing_of_use_is_nothing_left(store: ImageStore) -> None:
    with contextlib.suppress(InterruptedError), store.incoming(is_resumable=True):
        raise InterruptedError
    with contextlib.suppress(InterruptedError), store.incoming() as work:
        work.unpack(chunks(ONE))
        raise InterruptedError
    assert os.listdir(store.tmp_dir) == []


def test_a_mark_says_which_layer_it_is(store: ImageStore) -> None:
    leave(store)
    (mark,) = Path(store.tmp_dir).glob("*/whole/*")
    assert mark.name == hex_of(digest(ONE))
    with store.incoming(is_resumable=True) as work:
        found = remains.take_over(work.path, store.lock_path, [digest(ONE)], [])
    assert found == (Layer(digest(ONE), len(ONE)),)
