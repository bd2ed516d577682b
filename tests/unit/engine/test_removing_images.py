"""What `image rm` takes away: an image, or one of its names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloison.base.errors import NotFound
from cloison.engine.engine import open_engine
from cloison.engine.pools import Pools
from cloison.images import Facts
from cloison.images.layers import measure
from cloison.images.workspace import workspace
from cloison.storage.driver import Tree


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


BASE, OTHER = ("/i/base",), ("/i/top", "/i/base")


@pytest.mark.parametrize(
    ("layers", "over", "is_used"),
    [
        (BASE, BASE, True),
        (OTHER, OTHER, True),
        (OTHER, BASE, False),  # made from the base, which the other image shares
        (BASE, OTHER, False),  # made from the other image, which keeps the layer
        (BASE, (), False),
    ],
)
def test_an_image_is_in_use_by_what_is_over_it(layers: tuple[str, ...], over: tuple[str, ...], is_used: bool) -> None:  # noqa: FBT001
    images: Any = [SimpleNamespace(digest=each[0], layers=each) for each in (BASE, OTHER)]
    image = next(each for each in images if each.layers == layers)
    assert Pools.uses(image, images, [Tree("p", "t", ("below", *over))]) is is_used


def test_a_layer_that_no_other_image_has_is_in_use_by_whatever_is_over_it() -> None:
    images: Any = [SimpleNamespace(digest="sha256:1", layers=OTHER)]
    assert Pools.uses(images[0], images, [Tree("p", "t", BASE)])


def test_of_two_images_with_the_same_files_one_may_go() -> None:
    images: Any = [SimpleNamespace(digest=digest, layers=OTHER) for digest in ("sha256:1", "sha256:2")]
    assert not Pools.uses(images[0], images, [Tree("p", "t", OTHER)])
