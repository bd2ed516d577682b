import os
from pathlib import Path

import pytest

from cloison.images import Facts, Image, ImageStore
from cloison.images.layers import measure
from cloison.images.workspace import workspace


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(f"{tmp_path}/images")


def facts(*names: str) -> Facts:
    return Facts(
        names=names,
        os="tiny",
        release="1",
        architecture="amd64",
        command=("/sbin/init",),
        env=("PATH=/bin",),
        stop_signal="SIGTERM",
        template="",
        is_system=False,
    )


def add(store: ImageStore, content: str, *names: str) -> Image:
    """An image of one file with this content."""
    store.prepare()
    with workspace(store.tmp_dir, store.lock_path) as work:
        with open(f"{work.rootfs}/file", "w") as file:
            file.write(content)
        for path in (f"{work.rootfs}/file", work.rootfs):
            os.utime(path, (0, 0))
        return store.add(work.rootfs, measure(work.rootfs, lambda _: None), facts(*names))
