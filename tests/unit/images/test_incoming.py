import hashlib
import json
import os
import threading
from pathlib import Path

import msgspec
import pytest

from cloison.base.errors import Invalid
from cloison.images import ImageStore
from cloison.images.layout import Layer
from tests.unit.images.archives import chunks, file, tar
from tests.unit.images.conftest import add, facts

ONE, TWO = tar(file("one", b"1" * 5000)), tar(file("two"))


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config(*layers: Layer) -> bytes:
    """A config document as nobody here would write it."""
    rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
    return json.dumps({"x": {"unknown": [1]}, "rootfs": rootfs, "os": "linux"}, indent=3).encode()


def test_an_image_of_two_layers_keeps_its_config_and_its_streams(store: ImageStore) -> None:
    with store.incoming() as work:
        layers = (work.unpack(chunks(ONE)), work.unpack(chunks(TWO), diff_id=digest(TWO)))
        image = work.finish(config(*layers), facts("two/1"), layers)
    assert store.find("two/1") == image
    assert image.id == digest(config(*layers))
    assert store.config_of(image) == config(*layers)
    assert [os.listdir(layer) for layer in image.layers] == [["two"], ["one"]]  # the uppermost first
    assert store.layers_of(image) == layers
    assert [b"".join(store.stream(layer.diff_id)) for layer in layers] == [ONE, TWO]
    assert store.clean() == ()
    assert os.listdir(store.tmp_dir) == []


def test_another_stream_than_was_promised_is_refused(store: ImageStore) -> None:
    with store.incoming() as work, pytest.raises(Invalid, match=f"its digest is {digest(ONE)} instead of"):
        work.unpack(chunks(ONE), diff_id=digest(TWO))
    assert os.listdir(store.layers_dir) == []


@pytest.mark.parametrize("text", ["", "sha256:", "sha512:" + "0" * 64, "sha256:../../../x", "sha256:" + "G" * 64])
def test_a_digest_becomes_no_path_before_it_is_one(store: ImageStore, text: str) -> None:
    with store.incoming() as work, pytest.raises(Invalid, match="no digest that can be checked"):
        work.has_layer(text)


def test_a_config_over_other_layers_is_refused(store: ImageStore) -> None:
    with store.incoming() as work:
        layer = work.unpack(chunks(ONE))
        for document in (config(), config(layer, layer), b"{}", b"{"):
            with pytest.raises(Invalid, match="config"):
                work.finish(document, facts("x"), (layer,))
    assert store.images() == ()


def test_a_layer_that_somebody_counts_on_outlives_its_image(store: ImageStore) -> None:
    with store.incoming() as work:
        layer = work.unpack(chunks(ONE))
        work.finish(config(layer), facts("first"), (layer,))
    with store.incoming() as work:
        assert work.has_layer(digest(ONE)) and not work.has_layer(digest(TWO))
        store.remove("first")
        found = work.layer_of(layer.diff_id)
        assert found == layer
        image = work.finish(config(layer), facts("second"), (layer,))
    assert os.listdir(image.layers[0]) == ["one"]
    store.remove("second")
    assert os.listdir(store.layers_dir) == []


def test_several_layers_are_unpacked_at_the_same_time(store: ImageStore) -> None:
    archives = [tar(file(f"{number}", os.urandom(50_000))) for number in range(4)]
    with store.incoming() as work:
        threads = [threading.Thread(target=work.unpack, args=(chunks(archive),)) for archive in (*archives, *archives)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        layers = tuple(work.layer_of(digest(archive)) for archive in archives)
        assert None not in layers
        known = tuple(layer for layer in layers if layer is not None)
        image = work.finish(config(*known), facts("many"), known)
    assert len(image.layers) == 4


def test_a_layer_that_an_image_has_twice_is_one_directory(store: ImageStore) -> None:
    with store.incoming() as work:
        one, two = work.unpack(chunks(ONE)), work.unpack(chunks(TWO))
        image = work.finish(config(one, two, one), facts("x"), (one, two, one))
    assert [os.listdir(layer) for layer in image.layers] == [["one"], ["two"]]
    assert len(msgspec.json.decode(store.config_of(image))["rootfs"]["diff_ids"]) == 3


def test_an_image_that_comes_again_keeps_its_names(store: ImageStore) -> None:
    for name in ("first", "second"):
        with store.incoming() as work:
            layer = work.unpack(chunks(ONE))
            work.finish(config(layer), facts(name), (layer,))
    assert set(store.find("first").names) == {"first", "second"}


def test_images_of_before_are_still_found(store: ImageStore, tmp_path: Path) -> None:
    add(store, "one", "tiny/1")
    path = Path(store.root, "index.json")
    line = json.loads(path.read_text())["manifests"][0]
    record = json.loads(line["annotations"]["cloison.image"])
    for name in set(record) - {"names", "os", "release", "architecture", "command", "env", "stop_signal", "layers"}:
        if name not in ("template", "is_system", "created"):
            del record[name]
    line["annotations"]["cloison.image"] = json.dumps(record)
    path.write_text(json.dumps({"schemaVersion": 2, "mediaType": "x", "manifests": [line]}))
    assert store.find("tiny/1").names == ("tiny/1",)
    assert store.config_of(store.find("tiny/1"))
