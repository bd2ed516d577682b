"""Imports that fail, or are killed, and stores that are damaged: nothing half-made counts, and what was there stays."""

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine
from cloison.engine.image_archives import import_images, verify_images
from tests.integration.images.conftest import PROGRAM, Cli, ran

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of 400 files that do not compress, 40 MB."""
    place = tmp_path_factory.mktemp("large")
    chance = random.Random(3)
    for number in range(400):
        directory = place / "tree" / f"d{number % 20}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(chance.randbytes(100_000))
    ran("tar", "-C", place / "tree", "-cf", place / "large.tar", ".")
    return place / "large.tar"


def is_whole(root: Path) -> None:
    """What `repair` and `image verify` say, and that there is nothing that belongs to no image."""
    ran(PROGRAM, "repair")
    ran(PROGRAM, "image", "verify")
    images = root / "lib/images"
    mentioned = set()
    for line in json.loads((images / "index.json").read_text())["manifests"]:
        record = json.loads(line["annotations"]["cloison.image"])
        mentioned |= {layer["diff_id"].removeprefix("sha256:") for layer in record["layers"]}
    assert {name.partition(".")[0] for name in os.listdir(images / "layers")} == mentioned
    assert os.listdir(images / "tmp") == []


def test_a_killed_import_leaves_what_repair_takes(root: Path, archive: Path, large: Path) -> None:
    ran(PROGRAM, "image", "import", archive, "before")
    begin = time.monotonic()
    ran(PROGRAM, "image", "import", large, "measure")
    lasts_s = time.monotonic() - begin
    ran(PROGRAM, "image", "rm", "measure")
    outcomes = set()
    for number in range(14):
        child = subprocess.Popen([PROGRAM, "image", "import", large, "large"], stderr=subprocess.DEVNULL)
        time.sleep(lasts_s * number / 12)
        child.send_signal(signal.SIGKILL)
        child.wait()
        is_whole(root)
        names = json.loads(ran(PROGRAM, "image", "ls", "--json"))
        found = sorted(name for image in names for name in image["names"])
        assert found in (["before"], ["before", "large"])
        outcomes.add(len(found))
        if "large" in found:
            ran(PROGRAM, "image", "rm", "large")
    assert 1 in outcomes


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("size", ["8m", "20m", "40m"])
def test_a_full_disk_is_said_and_costs_nothing(root: Path, cli: Cli, archive: Path, large: Path, size: str) -> None:
    with small_disk(root / "lib/images", size):
        ran(PROGRAM, "image", "import", archive, "before")
        done = cli("image", "import", large, "large")
        assert done.returncode == 6 and b"no space is left for images in" in done.stderr, done.stderr
        is_whole(root)
        assert json.loads(ran(PROGRAM, "image", "ls", "--json"))[0]["names"] == ["before"]


def test_a_full_disk_at_an_export_leaves_no_file(root: Path, cli: Cli, large: Path, tmp_path: Path) -> None:
    ran(PROGRAM, "image", "import", large, "large")
    with small_disk(tmp_path / "small", "4m"):
        done = cli("image", "export", "large", tmp_path / "small/out.tar")
        assert done.returncode == 6 and b"no space is left" in done.stderr
        assert os.listdir(tmp_path / "small") == []


# --- bad input -------------------------------------------------------------------------------------------


LAYER = f"{'a' * 64}/layer.tar"


def saved(config: bytes, layer: bytes, name: str = "web:1", digits: str = "") -> bytes:
    """What `docker save` writes, of this config and layer."""
    digits = digits or hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{digits}.json", "RepoTags": [name], "Layers": [LAYER]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in (
            (LAYER, layer),
            (f"{digits}.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def config_over(layer: bytes, architecture: str = "amd64") -> bytes:
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    return json.dumps(
        {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()


@pytest.fixture(scope="module")
def layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = 5000
        archive.addfile(info, io.BytesIO(b"x" * 5000))
    return out.getvalue()


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_is_wrong_with_an_archive_is_said(
    cli: Cli, root: Path, tmp_path: Path, layer: bytes, *, is_stream: bool
) -> None:
    config = config_over(layer)
    whole = saved(config, layer)
    changed = layer[:600] + b"y" + layer[601:]
    cases = (
        (whole[: len(layer) // 2], b"truncated"),
        (whole[: len(layer) + 1536], b"truncated|lacks"),
        (saved(config, changed), b"its digest is sha256:"),
        (saved(config, layer, digits="0" * 64), b"its digest is sha256:"),
        (saved(config_over(layer, "s390x"), layer), b"the image is for linux/s390x, and this host is linux/"),
        (saved(b"{}", layer), b"config is damaged"),
        (b"PK\x03\x04" + bytes(1000), b"looks like zip"),
        (b"hello" * 200, b"no archive that can be read"),
        (b"", b"truncated"),
        (b"\x1f\x8b\x08\0" + bytes(1000), b"gzip compression is damaged"),
        (b"hsqs" + bytes(1000), b"squashfs cannot be read"),
    )
    path = tmp_path / "archive"
    for content, wanted in cases:
        path.write_bytes(content)
        done = cli("image", "import", "-", stdin=content) if is_stream else cli("image", "import", path)
        assert done.returncode == 2 and done.stderr.count(b"cloison:") == 1, done.stderr
        assert any(word in done.stderr for word in wanted.split(b"|")), (wanted, done.stderr)
        assert b"Traceback" not in done.stderr
    assert not (root / "lib/images/index.json").exists() and os.listdir(root / "lib/images/tmp") == []


def test_what_is_wrong_with_the_words_is_said(cli: Cli, tmp_path: Path, archive: Path) -> None:
    for words, code, wanted in (
        (("import", tmp_path / "missing"), 3, b"there is no file"),
        (("import", archive, "../x"), 2, b"cannot be the name of an image"),
        (("import", archive, "a/../b"), 2, b"cannot be the name of an image"),
        (("import", archive, "x", "--limit", "height=3"), 2, b"there is no limit 'height'"),
        (("import", archive, "x", "--limit", "entries=0"), 2, b"a whole number above 0"),
        (("import", archive, "x", "--limit", "entries=3"), 2, b"exceeds the limit of entries, 3"),
        (("import", archive, "x", "--platform", "plan9/amd64"), 2, b"not for Linux"),
        (("import", archive, "x", "--rootfs", archive), 2, b"too large to be one"),
        (("export", "missing"), 3, b"no image 'missing'"),
        (("verify", "missing"), 3, b"no image 'missing'"),
    ):
        done = cli("image", *words)
        assert done.returncode == code and wanted in done.stderr, (words, done.stderr)
    assert cli("image", "import", archive, "x").returncode == 0
    nowhere = cli("image", "export", "x", tmp_path / "no/where")
    assert nowhere.returncode == 2 and b"cannot be written" in nowhere.stderr
    twice = cli("image", "export", "x", tmp_path / "x.squashfs", "--compression", "gzip")
    assert twice.returncode == 2 and b"compressed by itself" in twice.stderr


def test_an_archive_of_two_images_wants_to_know_which(engine: Engine, cli: Cli, tmp_path: Path, layer: bytes) -> None:
    layout = tmp_path / "layout"
    ran("umoci", "init", "--layout", layout)
    (tmp_path / "file").write_text("x")
    for name in ("one", "two"):
        ran("umoci", "new", "--image", f"{layout}:{name}")
        ran("umoci", "insert", "--image", f"{layout}:{name}", tmp_path / "file", f"/{name}")
    done = cli("image", "import", layout, "mine")
    assert done.returncode == 2 and b"the archive holds 2 images: one, two" in done.stderr
    assert cli("image", "import", layout, "mine", "--only", "two").stdout == b"mine\n"
    assert cli("image", "import", layout, "--only", "three").returncode == 2
    assert cli("image", "import", layout).stdout.split() == [b"one", b"two"]
    assert len(engine.images.images()) == 2


# --- verify and prune ------------------------------------------------------------------------------------


def test_every_kind_of_damage_is_found(engine: Engine, cli: Cli, archive: Path, tmp_path: Path) -> None:
    (image,) = import_images(engine, str(archive), name="tiny")
    place = Path(image.layers[0])
    kept = tmp_path / "kept"
    ran("cp", "-a", engine.images.root, kept)

    def with_damage(change: str, wanted: str) -> None:
        ran("sh", "-ec", change, IMAGES=engine.images.root, LAYER=str(place))
        done = cli("image", "verify")
        assert done.returncode == 6 and wanted in done.stdout.decode(), (change, done.stdout, done.stderr)
        assert b"damaged: tiny" in done.stderr
        shutil.rmtree(engine.images.root)
        ran("cp", "-a", kept, engine.images.root)
        assert cli("image", "verify", "tiny").stdout == b"tiny: as it was\n"

    with_damage('printf y | dd of="$LAYER/etc/hostname" conv=notrunc status=none', "has other contents")
    with_damage(': > "$LAYER/bin/busybox"', "shorter than it was")
    with_damage('rm "$LAYER/bin/su"', "'bin/su' cannot be read")
    with_damage('rm "$LAYER/bin/sh"', "'bin/sh' cannot be seen")
    with_damage('ln -sf dash "$LAYER/bin/sh"', "'bin/sh' has the target 'dash' instead of 'busybox'")
    with_damage('chmod u-s "$LAYER/bin/su"', "'bin/su' has mode 0755 instead of 4755")
    with_damage('chown 5 "$LAYER/var/empty"', "'var/empty' has owner 5:44 instead of 33:44")
    with_damage('setfattr -x security.capability "$LAYER/bin/serve"', "'bin/serve' has lost the attribute security.")
    with_damage('setfattr -n user.origin -v x "$LAYER/etc/hostname"', "has another value of the attribute user.origin")
    with_damage('touch "$LAYER/etc/more"', "'etc/more' does not belong there")
    with_damage('touch -d 2001-01-01 "$LAYER/bin/serve"', "'bin/serve' has another time of change")
    with_damage('printf x >> "$LAYER.skeleton"; printf y | dd of="$LAYER.skeleton" seek=40 bs=1 conv=notrunc', "layer")
    with_damage('rm -r "$LAYER"', "is missing")
    with_damage('for each in "$IMAGES"/blobs/sha256/*; do printf x >> "$each"; done', "is damaged")
    with_damage('rm "$IMAGES"/blobs/sha256/*', "is missing from the image store")


def test_prune_takes_what_nobody_uses(engine: Engine, cli: Cli, archive: Path, layer: bytes) -> None:
    import_images(engine, str(archive), name="used")
    import_images(engine, iter([saved(config_over(layer), layer, "web:1")]))
    instance = engine.create("used", "one", config=("nics.eth0.type=empty",))
    assert cli("image", "prune", "--older-than", "1h").stdout == b""
    assert cli("image", "prune", "--unnamed").stdout == b""
    assert cli("image", "prune", "--dry-run").stdout == b"web:1\n"
    assert [image.names for image in engine.images.images()] == [("used",), ("web:1",)]
    assert cli("image", "prune").stdout == b"web:1\n"
    assert [image.names for image in engine.images.images()] == [("used",)]
    assert [verdict.damage for verdict in verify_images(engine, ())] == [()]
    instance.delete()
    assert cli("image", "prune", "--json").returncode == 0
    assert os.listdir(engine.images.layers_dir) == []
