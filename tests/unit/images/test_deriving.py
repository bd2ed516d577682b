"""An image over another one."""

import json
from pathlib import Path

from cloison.images import ImageStore
from cloison.images.deriving import config_over, derive, named_again
from cloison.images.layout import Layer
from tests.unit.images.archives import chunks, file, tar
from tests.unit.images.conftest import add, facts


def test_an_image_has_the_layers_of_its_base_and_one_more(store: ImageStore) -> None:
    base = add(store, "below", "base")
    image = derive(store, base, chunks(tar(file("new", b"above"))), facts("web"))
    assert image.layers[1:] == base.layers and len(image.layers) == 2
    assert Path(image.layers[0], "new").read_bytes() == b"above"
    config = json.loads(store.config_of(image))
    assert config["rootfs"]["diff_ids"][:1] == [layer.diff_id for layer in store.layers_of(base)]
    assert [layer.diff_id for layer in store.layers_of(image)] == config["rootfs"]["diff_ids"]


def test_a_name_comes_back_to_an_image_that_lost_it(store: ImageStore) -> None:
    base = add(store, "below", "base")
    one = derive(store, base, chunks(tar(file("new", b"1"))), facts("web"))
    other = derive(store, base, chunks(tar(file("new", b"2"))), facts("web"))
    assert store.find("web").digest == other.digest != one.digest
    assert named_again(store, store.find(one.digest), ("web",)).digest == one.digest
    assert store.find("web").digest == one.digest
    assert store.find(other.digest).names == ()


def test_what_is_unknown_in_a_config_stays_and_its_history_goes() -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "history": [{"created_by": "somebody"}],
        "created": "2020-01-01T00:00:00Z",
        "config": {"Cmd": ["old"], "Healthcheck": {"Test": ["CMD", "x"]}, "WorkingDir": "/srv", "Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:0"]},
    }
    made = json.loads(config_over(json.dumps(config).encode(), facts("x"), (Layer("sha256:1", 1),)))
    assert made == {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/sbin/init"], "Env": ["PATH=/bin"], "Healthcheck": {"Test": ["CMD", "x"]}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
    }
