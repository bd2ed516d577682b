import json
import os
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import Exists, Host, Invalid, NotFound
from cloison.images import Image, ImageStore, blobs
from cloison.images.layers import measure
from cloison.images.layout import Config, Manifest
from cloison.images.workspace import workspace
from tests.unit.images.conftest import add, facts


def test_a_store_that_was_never_written_has_no_images(store: ImageStore) -> None:
    assert store.images() == ()
    assert store.clean() == ()
    with pytest.raises(NotFound, match="no image 'debian/12', and no other"):
        store.find("debian/12")
    with pytest.raises(NotFound):
        store.remove("debian/12")
    assert not os.path.exists(store.root)


def test_what_was_added_is_found_by_name_and_by_digest(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1", "tiny/first")
    digits = image.digest.removeprefix("sha256:")
    for name in ("tiny/1", "tiny/first", "tiny", image.digest, digits, digits[:6], f"sha256:{digits[:6]}"):
        assert store.find(name) == image
    assert store.images() == (image,)


def test_five_digits_are_no_digest(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1")
    with pytest.raises(NotFound):
        store.find(image.digest.removeprefix("sha256:")[:5])


def test_a_missing_image_names_those_that_there_are(store: ImageStore) -> None:
    add(store, "one", "tiny/1")
    add(store, "two", "tiny/2")
    with pytest.raises(NotFound) as missing:
        store.find("big")
    assert missing.value.hint == "there is tiny/1, tiny/2"


def test_a_family_of_two_is_ambiguous(store: ImageStore) -> None:
    add(store, "one", "tiny/1")
    add(store, "two", "tiny/2")
    with pytest.raises(Invalid, match="fits 2 images: tiny/1, tiny/2"):
        store.find("tiny")


def test_a_layer_is_a_directory_that_anybody_may_enter_below_a_root_that_nobody_may(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1")
    (layer,) = image.layers
    assert Path(layer, "file").read_text() == "one"
    assert os.stat(layer).st_mode & 0o7777 == 0o755
    assert os.stat(store.root).st_mode & 0o7777 == 0o700


def test_equal_files_are_one_layer_and_one_image(store: ImageStore) -> None:
    first, second = add(store, "one", "tiny/1"), add(store, "one", "tiny/1")
    assert first.digest == second.digest
    assert len(os.listdir(store.layers_dir)) == 1
    assert len(store.images()) == 1


def test_a_name_moves_to_the_newer_image(store: ImageStore) -> None:
    old, new = add(store, "one", "tiny/1"), add(store, "two", "tiny/1")
    assert store.find("tiny/1").digest == new.digest
    assert store.find(old.digest).names == ()


def test_the_documents_are_those_of_the_oci(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1")
    assert json.loads(Path(store.root, "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    manifest = msgspec.json.decode(blobs.get(store.blobs_dir, image.digest), type=Manifest)
    config = msgspec.json.decode(blobs.get(store.blobs_dir, manifest.config.digest), type=Config)
    assert manifest.layers[0].digest == config.rootfs.diff_ids[0]
    assert image.layers == (f"{store.layers_dir}/{manifest.layers[0].digest.removeprefix('sha256:')}",)
    assert manifest.layers[0].size == image.size_bytes
    assert config.config.cmd == image.command


def test_a_damaged_document_is_not_believed(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1")
    with open(f"{store.blobs_dir}/{image.digest.removeprefix('sha256:')}", "ab") as file:
        file.write(b" ")
    with pytest.raises(Host, match="is damaged"):
        blobs.get(store.blobs_dir, image.digest)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schemaVersion":2,"mediaType":"","manifests":[{}]}'])
def test_a_damaged_index_is_said_to_be_one(store: ImageStore, text: str) -> None:
    add(store, "one", "tiny/1")
    with open(f"{store.root}/index.json", "w") as file:
        file.write(text)
    with pytest.raises(Host, match="index of the image store is damaged"):
        store.images()
    with pytest.raises(Host, match="index of the image store is damaged"):
        store.clean()
    assert len(os.listdir(store.layers_dir)) == 1


def test_a_tag_is_one_more_name(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1")
    assert store.tag("tiny/1", "base").names == ("tiny/1", "base")
    assert store.tag("base", "tiny/1").names == ("tiny/1", "base")
    assert store.find("base").digest == image.digest


def test_a_tag_takes_no_other_images_name(store: ImageStore) -> None:
    add(store, "one", "tiny/1")
    add(store, "two", "tiny/2")
    with pytest.raises(Exists, match="tiny/1"):
        store.tag("tiny/2", "tiny/1")


@pytest.mark.parametrize("name", ["", "Debian", "/x", "x/", "a b", "..", "a\n", "-a", "é", "a" * 256])
def test_such_a_name_cannot_be(store: ImageStore, name: str) -> None:
    add(store, "one", "tiny/1")
    with pytest.raises(Invalid, match="cannot be the name of an image"):
        store.tag("tiny/1", name)


@pytest.mark.parametrize("name", ["debian/12", "debian/12+0a1b2c3d", "registry.example:5000/a__b/c:1.0", "a--b"])
def test_such_a_name_can_be(store: ImageStore, name: str) -> None:
    add(store, "one", "tiny/1")
    assert name in store.tag("tiny/1", name).names


def test_what_is_removed_leaves_nothing(store: ImageStore) -> None:
    add(store, "one", "tiny/1", "tiny/first")
    kept = add(store, "two", "tiny/2")
    assert store.remove("tiny/first").names == ("tiny/1", "tiny/first")
    assert store.images() == (kept,)
    assert os.listdir(store.layers_dir) == [os.path.basename(kept.layers[0])]
    assert len(os.listdir(store.blobs_dir)) == 2
    assert os.listdir(store.tmp_dir) == []


def test_a_layer_that_two_images_have_outlives_one_of_them(store: ImageStore) -> None:
    first = add(store, "one", "tiny/1")
    second = add_with_other_facts(store, "one")
    assert first.layers == second.layers and first.digest != second.digest
    store.remove("tiny/1")
    assert os.path.exists(f"{second.layers[0]}/file")


def add_with_other_facts(store: ImageStore, content: str) -> Image:
    with workspace(store.tmp_dir, store.lock_path) as work:
        with open(f"{work.rootfs}/file", "w") as file:
            file.write(content)
        for path in (f"{work.rootfs}/file", work.rootfs):
            os.utime(path, (0, 0))
        other = msgspec.structs.replace(facts("other"), stop_signal="SIGINT")
        return store.add(work.rootfs, measure(work.rootfs, lambda _: None), other)


def test_clean_removes_what_no_image_mentions(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1")
    os.makedirs(f"{store.layers_dir}/{'0' * 64}/usr")
    open(f"{store.blobs_dir}/{'1' * 64}", "w").close()
    open(f"{store.root}/index.json.new", "w").close()
    os.makedirs(f"{store.tmp_dir}/abandoned/rootfs/etc")
    open(f"{store.tmp_dir}/abandoned/lock", "w").close()
    os.makedirs(f"{store.tmp_dir}/never-locked")
    assert set(store.clean()) == {
        f"layers/{'0' * 64}",
        f"blobs/sha256/{'1' * 64}",
        "index.json.new",
        "tmp/abandoned",
        "tmp/never-locked",
    }
    assert store.clean() == ()
    assert store.find("tiny/1") == image


def test_clean_leaves_work_in_progress_alone(store: ImageStore) -> None:
    store.prepare()
    with workspace(store.tmp_dir, store.lock_path) as work:
        assert store.clean() == ()
        assert os.path.isdir(work.rootfs)
    assert os.listdir(store.tmp_dir) == []


def test_one_of_several_names_goes_and_the_image_stays(store: ImageStore) -> None:
    image = add(store, "one", "tiny/1", "base")
    assert store.untag(image.digest) is None
    left = store.untag("base")
    assert left is not None and (left.names, left.digest) == (("tiny/1",), image.digest)
    store.tag("tiny/1", "base")
    left = store.untag("tiny")  # the beginning of a name means that one
    assert left is not None and left.names == ("base",)
    store.tag("base", "tiny/1")
    store.untag("base")
    with pytest.raises(NotFound):
        store.untag("base")
    assert store.untag("tiny/1") is None  # its last one: that is for `remove`
    assert [each.names for each in store.images()] == [("tiny/1",)]
