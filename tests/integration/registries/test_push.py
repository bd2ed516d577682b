"""Images into a real registry, as other programs see them there, and over connections that break."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from cloison import Engine
from cloison.base.errors import Host, Invalid, NotFound, Remote
from cloison.images import Image
from tests.integration.registries import building
from tests.integration.registries.building import Made, skopeo
from tests.integration.registries.conftest import Cli
from tests.integration.registries.serving import Fault, Proxy, RunningRegistry

pytestmark = pytest.mark.needs_root


@pytest.fixture
def image(engine: Engine, pushed: str) -> Image:
    """`made`, as it was pulled."""
    return engine.servers.pull(f"docker://{pushed}", name="it")


@pytest.fixture
def fresh(engine: Engine, tmp_path: Path, plain: RunningRegistry) -> Made:
    """An image "fresh" in the store whose layers no registry has: where it came from is forgotten and gone."""
    made = building.layout(tmp_path / "fresh", building.system({"more": os.urandom(20 << 20)}), env=str(tmp_path))
    with building.registry_of(made, tmp_path / "elsewhere") as name:
        engine.servers.pull(f"docker://{name}", name="fresh")
    return made


def inspected(name: str, *words: str) -> dict[str, object]:
    found = json.loads(skopeo("inspect", *words, "--tls-verify=false", f"docker://{name}"))
    assert isinstance(found, dict)
    return found


def is_whole(name: str, made: Made, tmp_path: Path) -> None:
    """What skopeo copies from there has the same config, and layers of the same streams; it checks every digest."""
    target = tmp_path / "copied"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{target}")
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["config"]["digest"] == made.id
    streams = []
    for layer in manifest["layers"]:
        content = building.unpacked((target / layer["digest"].removeprefix("sha256:")).read_bytes())
        streams.append(f"sha256:{hashlib.sha256(content).hexdigest()}")
    assert streams == list(made.diff_ids)


@pytest.mark.parametrize(
    ("form", "compression", "kind", "layer"),
    [
        ("oci", "gzip", "vnd.oci.image.manifest.v1+json", "vnd.oci.image.layer.v1.tar+gzip"),
        ("oci", "zstd", "vnd.oci.image.manifest.v1+json", "vnd.oci.image.layer.v1.tar+zstd"),
        ("oci", "none", "vnd.oci.image.manifest.v1+json", "vnd.oci.image.layer.v1.tar"),
        ("docker", "gzip", "vnd.docker.distribution.manifest.v2+json", "vnd.docker.image.rootfs.diff.tar.gzip"),
    ],
)
def test_what_was_pushed_is_what_was_pulled(
    engine: Engine,
    plain: RunningRegistry,
    image: Image,
    made: Made,
    tmp_path: Path,
    form: str,
    compression: str,
    kind: str,
    layer: str,
) -> None:
    name = f"{plain.host}/out/{form}-{compression}:1"
    pushed = engine.servers.push("it", f"docker://{name}", is_docker=form == "docker", compression=compression)
    raw = inspected(name, "--raw")
    assert raw["mediaType"] == f"application/{kind}"
    assert [entry["mediaType"] for entry in raw["layers"]] == [f"application/{layer}"] * 3  # type: ignore[attr-defined]
    assert inspected(name)["Digest"] == pushed.digest
    is_whole(name, made, tmp_path)
    engine.images.remove("it")
    assert engine.servers.pull(f"docker://{name}").id == made.id


def test_what_the_registry_has_is_not_sent(
    engine: Engine, image: Image, between: Proxy, plain: RunningRegistry, made: Made
) -> None:
    again = engine.servers.push("it", f"docker://{plain.host}/team/it:again")
    assert again.sent_bytes == 0 and again.size_bytes > 4 << 20
    engine.servers.push("it", f"docker://{between.host}/into/it:1")
    assert len(between.of("PUT", "/blobs/uploads/")) == len(made.diff_ids) + 1
    between.asked.clear()
    assert engine.servers.push("it", f"docker://{between.host}/into/it:2").sent_bytes == 0
    assert [one.method for one in between.asked if one.method in ("POST", "PATCH")] == []


def test_a_layer_of_another_repository_is_mounted(engine: Engine, image: Image, plain: RunningRegistry) -> None:
    before = plain.log.count('"PATCH ')
    assert engine.servers.push("it", f"docker://{plain.host}/mounted/it:1").sent_bytes == 0
    assert plain.log.count('"PATCH ') == before
    assert plain.log.count("POST /v2/mounted/it/blobs/uploads/?mount=") == 3


def test_where_it_cannot_be_mounted_the_upload_that_was_begun_is_used(
    engine: Engine, image: Image, plain: RunningRegistry, made: Made, tmp_path: Path
) -> None:
    """The repository from which it came has gone: a registry answers with an upload."""
    gone = made.blobs[0].removeprefix("sha256:")
    link = plain.directory / f"data/docker/registry/v2/repositories/team/it/_layers/sha256/{gone}/link"
    content = link.read_bytes()
    link.unlink()
    try:
        pushed = engine.servers.push("it", f"docker://{plain.host}/unmounted/it:1")
    finally:
        link.write_bytes(content)
    assert 0 < pushed.sent_bytes < pushed.size_bytes
    is_whole(f"{plain.host}/unmounted/it:1", made, tmp_path)


def test_without_a_target_it_goes_to_where_its_name_says(engine: Engine, image: Image, plain: RunningRegistry) -> None:
    name = f"{plain.host}/named/it:V1"
    engine.images.tag("it", name)
    assert engine.servers.push(name).name == engine.servers.push(f"docker://{name}").name == name
    assert inspected(name)["Name"] == name.rpartition(":")[0]


def test_an_image_that_was_built_here_is_pushed_and_comes_back_the_same(engine: Engine, plain: RunningRegistry) -> None:
    built = engine.image("busybox")
    engine.servers.push("busybox", f"docker://{plain.host}/built/busybox:1")
    engine.images.remove("busybox")
    back = engine.servers.pull(f"docker://{plain.host}/built/busybox:1")
    assert (back.id, back.is_system, back.command) == (built.id, True, built.command)
    instance = engine.launch(f"docker://{plain.host}/built/busybox:1", "it", config=["nics.eth0.type=empty"])
    assert instance.exec(["/bin/sh", "-c", "echo $0"]).stdout == b"/bin/sh\n"


# --- what breaks


def test_an_upload_that_the_registry_forgets_with_its_chunk_begins_anew(
    engine: Engine, fresh: Made, between: Proxy, plain: RunningRegistry, tmp_path: Path
) -> None:
    between.faults = [Fault("/uploads/", method="PATCH", cut=1_000_000)]
    engine.servers.push("fresh", f"docker://{between.host}/lossy/it:1", compression="none")
    is_whole(f"{plain.host}/lossy/it:1", fresh, tmp_path)
    ranges = [one.headers["content-range"] for one in between.of("PATCH", "/uploads/")]
    assert ranges == ["0-8388607", "0-8388607", "8388608-16777215", "16777216-20981759"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/uploads/", method="PATCH", status=503),
        Fault("/uploads/", method="PATCH", status=404),
        Fault("/uploads/", method="PUT", status=502),
        Fault("/uploads/", method="POST", status=429, headers={"Retry-After": 1}),
        Fault("/manifests/", method="PUT", status=503),
        Fault("/blobs/", method="HEAD", status=500),
    ],
)
def test_a_registry_that_fails_once_gets_it_all_the_same(
    engine: Engine, fresh: Made, between: Proxy, plain: RunningRegistry, tmp_path: Path, fault: Fault
) -> None:
    between.faults = [fault]
    name = f"once/{fault.method.lower()}-{fault.status}:1"
    engine.servers.push("fresh", f"docker://{between.host}/{name}")
    assert fault.times == 0
    is_whole(f"{plain.host}/{name}", fresh, tmp_path)


def test_a_registry_that_fails_for_ever_is_an_error(engine: Engine, fresh: Made, between: Proxy) -> None:
    between.faults = [Fault("/uploads/", method="PATCH", status=404, times=99)]
    with pytest.raises(Remote, match=r"broke off layer .* 3 times"):
        engine.servers.push("fresh", f"docker://{between.host}/never/it:1")
    assert between.of("PUT", "/manifests/") == []


def test_a_registry_that_says_it_has_something_else_is_an_error(engine: Engine, image: Image, between: Proxy) -> None:
    wrong = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    between.faults = [Fault("/manifests/", method="PUT", status=201, headers=dict(wrong))]
    with pytest.raises(Remote, match="says that it has sha256:0000"):
        engine.servers.push("it", f"docker://{between.host}/team/it:2")


def test_a_damaged_layer_is_not_pushed(engine: Engine, fresh: Made, plain: RunningRegistry) -> None:
    layer = engine.images.find("fresh").layers[-1]
    Path(layer, "etc/passwd").write_text("x" * Path(layer, "etc/passwd").stat().st_size)
    with pytest.raises(Host, match="is damaged"):
        engine.servers.push("fresh", f"docker://{plain.host}/damaged/it:1")
    with pytest.raises(NotFound):
        engine.servers.pull(f"docker://{plain.host}/damaged/it:1")


def test_a_push_to_a_digest_is_refused(engine: Engine, image: Image, plain: RunningRegistry) -> None:
    with pytest.raises(Invalid, match="is a digest, which is what a push gives"):
        engine.servers.push("it", f"docker://{plain.host}/x@sha256:{'0' * 64}")
    with pytest.raises(Invalid, match="know no layers by zstd"):
        engine.servers.push("it", f"docker://{plain.host}/x:1", is_docker=True, compression="zstd")


def test_the_command_prints_what_it_can_be_pulled_by(cli: Cli, image: Image, plain: RunningRegistry) -> None:
    done = cli("image", "push", "it", f"docker://{plain.host}/by/command:1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"pushing docker://{plain.host}/by/command:1: asking the server\n")
    assert cli("image", "pull", done.stdout.strip(), "--quiet").returncode == 0
    told = json.loads(cli("image", "push", "it", f"docker://{plain.host}/by/command:1", "--json", "-q").stdout)
    assert told["digest"] == done.stdout.strip().rpartition("@")[2] and told["sent_bytes"] == 0
    missing = cli("image", "push", "nothing", f"docker://{plain.host}/x:1", "-q")
    assert missing.returncode == 3 and "there is no image 'nothing'" in missing.stderr
