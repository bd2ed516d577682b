"""What `image rm` takes away: an image, or one of its names."""

from pathlib import Path

import pytest

from cloison.base.errors import NotFound
from cloison.engine.engine import open_engine
from cloison.images import Facts
from cloison.images.layers import measure
from cloison.images.workspace import workspace


def test_a_second_name_goes_alone_and_a_digest_takes_all(tmp_path: Path) -> None:
    engine = open_engine(f"{tmp_path}/root")
    store = engine.images
    store.prepare()
    with workspace(store.tmp_dir, store.lock_path) as work:
        Path(work.rootfs, "file").write_text("one")
        facts = Facts(("tiny/1", "golden"), "tiny", "1", "amd64", ("/sbin/init",), (), "SIGTERM", "", is_system=False)
        image = store.add(work.rootfs, measure(work.rootfs, lambda _: None), facts)
    assert engine.remove_image("golden").names == ("tiny/1",)
    assert Path(image.layers[0], "file").read_text() == "one"
    store.tag("tiny/1", "golden")
    engine.remove_image(image.digest)
    assert store.images() == ()
    with pytest.raises(NotFound):
        engine.remove_image("tiny/1")
