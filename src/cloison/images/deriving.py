"""An image over another one: its layers, one more, and its config with what is to be said otherwise.

What a config holds that cloison does not know of, such as a health check, stays. Its history does not: that would have
to tell how each layer came about. Source: image-spec v1.1, config.md.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import NotFound
from cloison.images.image import Facts, Image
from cloison.images.layout import Layer
from cloison.images.limits import Limits

if TYPE_CHECKING:
    from cloison.images.store import ImageStore

_BOUNDLESS = Limits(bytes=1 << 62, entries=1 << 40, file_bytes=1 << 62)  # it is no stranger's


def derive(store: "ImageStore", base: Image, layer: Iterable[bytes], facts: Facts) -> Image:
    """The image `facts` of the layers of `base` and the tar stream `layer`, which may have whiteouts. Raises NotFound
    where the base is gone, NoSpace."""
    below = store.layers_of(base)
    with store.incoming(_BOUNDLESS) as work:
        for each in below:
            if not work.has_layer(each.diff_id):
                raise NotFound("the base of the image has just been removed", digest=base.digest)
        layers = (*below, work.unpack(layer))
        return work.finish(config_over(store.config_of(base), facts, layers), facts, layers)


def named_again(store: "ImageStore", image: Image, names: tuple[str, ...]) -> Image:
    """The same image, which takes these names from whoever has them."""
    layers = store.layers_of(image)
    facts = Facts(**{name: getattr(image, name) for name in Facts.__struct_fields__})
    with store.incoming() as work:
        for each in layers:
            if not work.has_layer(each.diff_id):
                raise NotFound("the image has just been removed", digest=image.digest)
        return work.finish(store.config_of(image), msgspec.structs.replace(facts, names=names), layers)


def config_over(config: bytes, facts: Facts, layers: tuple[Layer, ...]) -> bytes:
    """A config document with other layers, and with what the facts say about running it. Pure."""
    document = msgspec.json.decode(config)
    run = dict(document.get("config") or {})
    for key in ("created", "history", "container", "container_config"):
        document.pop(key, None)
    words = facts.command[len(facts.entrypoint) :] if facts.entrypoint else facts.command
    said = {
        "Entrypoint": list(facts.entrypoint),
        "Cmd": list(words),
        "Env": list(facts.env),
        "User": facts.user,
        "WorkingDir": facts.workdir,
    }
    for key, value in said.items():
        run.pop(key, None)
        if value:
            run[key] = value
    document["config"] = run
    document["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
    return msgspec.json.encode(document)
