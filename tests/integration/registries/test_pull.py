"""Images from a real registry, and from one that breaks off, refuses and lies."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import cloison
from cloison import Engine
from cloison.base.errors import CloisonError, Denied, NoSpace, NotFound, Remote, Unsupported
from cloison.images import Image
from tests.integration.conftest import eventually
from tests.integration.registries import building
from tests.integration.registries.building import Made, skopeo
from tests.integration.registries.conftest import PROGRAM, Cli, host_settings, nothing_is_there
from tests.integration.registries.serving import Fault, Proxy, RunningRegistry

pytestmark = pytest.mark.needs_root


def whole(engine: Engine, image: Image, made: Made) -> None:
    """The image in the store is what was made, to the byte: the config, and each layer's stream."""
    assert image.id == made.id == f"sha256:{hashlib.sha256(engine.images.config_of(image)).hexdigest()}"
    for diff_id in made.diff_ids:
        digest = hashlib.sha256()
        for chunk in engine.images.stream(diff_id):
            digest.update(chunk)
        assert f"sha256:{digest.hexdigest()}" == diff_id


def blob_requests(between: Proxy, digest: str) -> list[str]:
    """The ranges that were asked for of a blob, "" for all of it."""
    return [asked.headers.get("range", "") for asked in between.of("GET", f"/blobs/{digest}")]


def test_an_image_comes_whole_and_runs(engine: Engine, pushed: str, made: Made) -> None:
    image = engine.servers.pull(f"docker://{pushed}")
    whole(engine, image, made)
    assert image.names == (pushed,) and image.architecture == "amd64" and image.labels == {"org.example.who": "test"}
    instance = engine.launch(f"docker://{pushed}", "it", config=["nics.eth0.type=empty"])
    said = instance.exec(["/bin/busybox", "sh", "-c", "cat /etc/passwd /etc/new; ls -d /gone /big /big2"])
    assert said.stdout == b"root:x:0:0:changed:/:/bin/sh\nover/big\n/big2\n"


def test_its_config_is_what_skopeo_sees(engine: Engine, pushed: str) -> None:
    told = skopeo("inspect", "--config", "--raw", "--tls-verify=false", f"docker://{pushed}")
    image = engine.servers.pull(f"docker://{pushed}")
    assert engine.images.config_of(image).decode() == told


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_layers_of_every_compression_come(
    engine: Engine, plain: RunningRegistry, tmp_path: Path, compression: str
) -> None:
    made = building.layout(tmp_path / "it", building.system(), compression=compression)
    name = f"{plain.host}/by/{compression or 'none'}:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
    whole(engine, engine.servers.pull(f"docker://{name}"), made)


def test_a_docker_manifest_comes(engine: Engine, plain: RunningRegistry, made: Made) -> None:
    name = f"{plain.host}/by/schema2:1"
    skopeo("copy", "--format", "v2s2", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
    image = engine.servers.pull(f"docker://{name}")
    assert [layer.diff_id for layer in engine.images.layers_of(image)] == list(made.diff_ids)


def test_another_platform_comes_when_it_is_asked_for(engine: Engine, pushed: str) -> None:
    image = engine.servers.pull(f"docker://{pushed}", platform="linux/arm64", name="foreign")
    assert (image.architecture, image.names) == ("arm64", (pushed, "foreign"))
    with pytest.raises(NotFound, match="is not there for linux/s390x") as missing:
        engine.servers.pull(f"docker://{pushed}", platform="linux/s390x")
    assert "linux/amd64, linux/arm64" in missing.value.hint


def test_an_image_for_another_processor_is_refused(engine: Engine, plain: RunningRegistry, tmp_path: Path) -> None:
    made = building.layout(tmp_path / "it", building.system(), platforms=("riscv64",))
    name = f"{plain.host}/by/riscv:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
    with pytest.raises(Unsupported, match="is for linux/riscv64, and not for linux/amd64"):
        engine.servers.pull(f"docker://{name}")
    with pytest.raises(Unsupported, match="is for linux/riscv64, and not for linux/arm64"):
        engine.servers.pull(f"docker://{name}", platform="linux/arm64")
    nothing_is_there(engine)
    assert engine.servers.pull(f"docker://{name}", platform="linux/riscv64").architecture == "riscv64"


def test_a_digest_is_what_it_says(engine: Engine, pushed: str, made: Made) -> None:
    told = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{pushed}").encode()
    digest = building.digest_of(told)
    image = engine.servers.pull(f"docker://{pushed.rpartition(':')[0]}@{digest}")
    whole(engine, image, made)
    assert image.names == (f"{pushed.rpartition(':')[0]}@{digest}",)


def test_what_the_store_has_is_not_asked_for(
    engine: Engine, between: Proxy, plain: RunningRegistry, pushed: str, made: Made, tmp_path: Path
) -> None:
    layers = building.system()
    bottom = building.layout(tmp_path / "below", layers)
    top = building.layout(tmp_path / "above", (*layers, building.tar({"more": b"1"})))
    for number, one in enumerate((bottom, top)):
        skopeo("copy", "--dest-tls-verify=false", f"oci:{one.directory}:it", f"docker://{plain.host}/twice/it:{number}")
    engine.servers.pull(f"docker://{between.host}/twice/it:0")
    between.asked.clear()
    whole(engine, engine.servers.pull(f"docker://{between.host}/twice/it:1"), top)
    assert blob_requests(between, top.blobs[0]) == []
    assert blob_requests(between, top.blobs[1]) == [""]
    between.asked.clear()
    engine.servers.pull(f"docker://{between.host}/twice/it:1")
    assert [asked.path for asked in between.asked if asked.path.rpartition("/")[2] in top.blobs] == []


def test_a_name_goes_to_what_the_tag_is_now(engine: Engine, plain: RunningRegistry, tmp_path: Path) -> None:
    name = f"{plain.host}/moving/it:latest"
    images = []
    for text in ("one", "two"):
        made = building.layout(tmp_path / text, building.system(), env=text)
        skopeo("copy", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
        images.append(engine.servers.pull(f"docker://{name}"))
    assert engine.images.find(name).id == images[1].id != images[0].id
    assert engine.image(f"docker://{name}").id == images[1].id


# --- what breaks


def test_a_layer_that_breaks_off_goes_on_where_it_broke(
    engine: Engine, between: Proxy, pushed: str, made: Made
) -> None:
    cuts = [1_000_000, 500_000, 0]
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=cut) for cut in cuts]
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    asked = between.of("GET", f"/blobs/{made.blobs[0]}")
    assert [one.headers.get("range") for one in asked] == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500000-"]
    size = os.stat(made.directory / "blobs/sha256" / made.blobs[0].removeprefix("sha256:")).st_size
    assert sum(one.sent for one in asked) == size  # no byte came twice


def test_a_server_that_ignores_ranges_sends_it_again(engine: Engine, between: Proxy, made: Made, pushed: str) -> None:
    blob = f"/blobs/{made.blobs[0]}"
    between.faults = [Fault(blob, cut=1_000_000), Fault(blob, ignores_range=True)]
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    assert blob_requests(between, made.blobs[0]) == ["", "bytes=1000000-"]


def test_a_server_that_never_gets_further_is_an_error(engine: Engine, between: Proxy, made: Made, pushed: str) -> None:
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=0, times=99)]
    with pytest.raises(Remote, match=r"broke|ends layer"):
        engine.servers.pull(f"docker://{between.host}/team/it:1")
    assert len(blob_requests(between, made.blobs[0])) == 5
    nothing_is_there(engine)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Fault("/manifests/", status=404), NotFound, "has no docker://"),
        (Fault("/manifests/", status=403), Denied, "refuses docker"),
        (Fault("/manifests/", times=9, status=401), Denied, "refuses docker"),
        (Fault("/manifests/", times=9, status=503), Remote, "failed with status 503"),
        (Fault("/manifests/", status=429, headers={"Retry-After": 4000}), Remote, "too many requests"),
        (Fault("/manifests/", status=418), Remote, "status 418"),
        (Fault("/manifests/", edit=lambda _: b"<html>"), Remote, "cannot be read|other bytes"),
        (Fault("/manifests/", edit=lambda body: body + b" " * (5 << 20)), Remote, "longer than 4194304 bytes"),
        (Fault("/manifests/1", edit=lambda body: body.replace(b"amd64", b"amd65")), Remote, "other bytes"),
        (Fault("/blobs/", times=9, status=404), NotFound, "has no"),
        (Fault("/blobs/", times=9, edit=lambda body: body[:-1] + b"\0"), Remote, "other bytes"),
        (Fault("/blobs/", times=9, edit=lambda body: body + b"\0"), Remote, "sends more of"),
        (Fault("/blobs/", times=99, ignores_range=True, edit=lambda body: body[:100]), Remote, "ends .* after 100 of"),
    ],
)
def test_a_server_that_fails_or_lies_leaves_nothing_behind(
    engine: Engine, between: Proxy, pushed: str, fault: Fault, kind: type[CloisonError], said: str
) -> None:
    between.faults = [fault]
    with pytest.raises(kind, match=said) as failed:
        engine.servers.pull(f"docker://{between.host}/team/it:1")
    assert between.host in failed.value.sentence and failed.value.sentence.count("\n") == 0
    nothing_is_there(engine)


def test_a_layer_with_other_contents_than_the_config_says_is_refused(
    engine: Engine, plain: RunningRegistry, tmp_path: Path
) -> None:
    """The blob is that of its digest, but not the layer that the image's id stands for."""
    made = building.layout(tmp_path / "it", building.system())
    lying = made.config.replace(made.diff_ids[0].encode(), b"sha256:" + b"0" * 64)
    blobs = made.directory / "blobs/sha256"
    index = json.loads((made.directory / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    for entry, content in ((manifest["config"], lying),):
        entry |= {"digest": building.digest_of(content), "size": len(content)}
        (blobs / entry["digest"][7:]).write_bytes(content)
    told = json.dumps(manifest).encode()
    (blobs / building.digest_of(told)[7:]).write_bytes(told)
    index["manifests"][0] |= {"digest": building.digest_of(told), "size": len(told)}
    (made.directory / "index.json").write_text(json.dumps(index))
    name = f"{plain.host}/lying/it:1"
    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
    with pytest.raises(Remote, match=r"cannot be taken: .* its digest is"):
        engine.servers.pull(f"docker://{name}")
    nothing_is_there(engine)


def test_a_busy_server_gets_the_time_that_it_asks_for(engine: Engine, between: Proxy, made: Made, pushed: str) -> None:
    between.faults = [
        Fault("/manifests/1", status=429, headers={"Retry-After": 1}),
        Fault(f"/blobs/{made.blobs[1]}", times=2, status=503),
    ]
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    assert len(between.of("GET", "/manifests/1")) == 2 and len(blob_requests(between, made.blobs[1])) == 3


def test_where_a_blob_is_elsewhere_that_gets_no_credentials(
    engine: Engine, between: Proxy, plain: RunningRegistry, made: Made, pushed: str, cli: Cli
) -> None:
    """Registries send on to a store of blobs. What one was logged in with is not its business (CVE-2020-15157)."""
    with_password = cli("login", "-u", "ana", "--password-stdin", between.host, stdin="secret")
    assert with_password.returncode == 0, with_password.stderr
    blob = f"/v2/team/it/blobs/{made.blobs[0]}"
    between.asked.clear()
    challenge: dict[str, str | int] = {"WWW-Authenticate": 'Basic realm="x"'}
    elsewhere: dict[str, str | int] = {"Location": f"http://{between.host.replace('127.0.0.1', 'localhost')}{blob}"}
    between.faults = [Fault("/manifests/", status=401, headers=challenge), Fault(blob, status=307, headers=elsewhere)]
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)
    first, second = between.of("GET", blob)
    assert first.headers["authorization"].startswith("Basic ") and first.headers["host"] == between.host
    assert "authorization" not in second.headers and second.headers["host"] != between.host


def test_a_mirror_is_asked_first_and_need_not_have_it(
    engine: Engine, root: Path, between: Proxy, plain: RunningRegistry, pushed: str, made: Made
) -> None:
    host_settings(root, f'[registries.mirrors]\n"{plain.host}" = ["http://{between.host}"]\n')
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=1000), Fault(f"/blobs/{made.blobs[0]}", status=404)]
    whole(engine, engine.servers.pull(f"docker://{pushed}"), made)
    assert between.of("GET", "/manifests/1") and "bytes=1000-" in blob_requests(between, made.blobs[0])
    engine.images.remove(pushed)
    between.faults = [Fault("/manifests/", times=99, status=404)]
    whole(engine, engine.servers.pull(f"docker://{pushed}"), made)


def test_a_remote_of_the_configuration_can_be_a_registry(
    engine: Engine, root: Path, plain: RunningRegistry, pushed: str, made: Made
) -> None:
    host_settings(root, f'[remotes.lab]\nurl = "http://{plain.host}/team"\nprotocol = "oci"\n')
    image = engine.image("lab:it:1")
    whole(engine, image, made)
    assert image.names == ("lab:it:1",)


def test_through_a_proxy_of_the_environment(
    engine: Engine, between: Proxy, monkeypatch: pytest.MonkeyPatch, pushed: str, plain: RunningRegistry, made: Made
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{between.host}")
    monkeypatch.setenv("NO_PROXY", "example.org")
    between.faults = []
    whole(engine, engine.servers.pull(f"docker://{pushed}"), made)
    assert any(one.path.startswith(f"http://{plain.host}/v2/team/it/") for one in between.asked)


def test_through_a_proxy_of_the_configuration(
    root: Path, between: Proxy, pushed: str, plain: RunningRegistry, made: Made
) -> None:
    lab = f'[remotes.lab]\nurl = "http://{plain.host}"\nprotocol = "oci"\nproxy = "http://{between.host}"\n'
    for settings, reference in (
        (f'[registries]\nproxy = "http://{between.host}"\n', f"docker://{pushed}"),
        (lab, "lab:team/it:1"),
    ):
        host_settings(root, settings)
        between.asked.clear()
        engine = cloison.open(str(root))
        whole(engine, engine.servers.pull(reference), made)
        assert any(one.path.startswith(f"http://{plain.host}/v2/team/it/") for one in between.asked)
        engine.images.remove(engine.images.images()[0].names[0])
        engine.store.close()


def test_what_was_pulled_is_found_by_its_reference(cli: Cli, pushed: str, engine: Engine) -> None:
    assert cli("image", "pull", f"docker://{pushed}", "-q").returncode == 0
    told = json.loads(cli("image", "info", f"docker://{pushed}", "--json").stdout)
    assert told["names"] == [pushed]
    build = cli("image", "build", f"docker://{pushed}")
    assert build.returncode == 2 and f"cloison image pull docker://{pushed}" in build.stderr
    assert cli("image", "rm", f"docker://{pushed}").returncode == 0
    assert engine.images.images() == ()


def test_two_at_once_make_one_image(engine: Engine, pushed: str, made: Made) -> None:
    words = [str(PROGRAM), "image", "pull", "--quiet", f"docker://{pushed}"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate(timeout=60)[0] for one in both] == [f"{pushed}\n"] * 2
    (image,) = engine.images.images()
    whole(engine, image, made)
    assert engine.images.clean() == ()


def test_a_full_disk_is_named_and_leaves_nothing(engine: Engine, root: Path, pushed: str) -> None:
    images = root / "lib" / "images"
    images.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", images], check=True)
    try:
        with pytest.raises(NoSpace, match=str(images)):
            engine.servers.pull(f"docker://{pushed}")
        nothing_is_there(engine)
    finally:
        subprocess.run(["umount", images], check=True)


# --- who dies in the middle


def test_a_pull_that_is_killed_leaves_a_consistent_store(
    engine: Engine, between: Proxy, pushed: str, made: Made
) -> None:
    gate = threading.Event()
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=1_000_000, stall=gate)]
    words = [str(PROGRAM), "image", "pull", f"docker://{between.host}/team/it:1"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as victim:
        try:
            assert eventually(lambda: any(one.sent for one in between.of("GET", f"/blobs/{made.blobs[0]}")))
        finally:
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            gate.set()
    assert engine.images.images() == ()
    assert [done.what for done in engine.repair()] == ["image build"]
    nothing_is_there(engine)
    whole(engine, engine.servers.pull(f"docker://{between.host}/team/it:1"), made)


def test_whenever_it_is_killed_the_store_has_all_of_it_or_nothing(
    engine: Engine, root: Path, pushed: str, made: Made, cli: Cli
) -> None:
    words = [str(PROGRAM), "image", "pull", f"docker://{pushed}"]
    begin = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    took_s = time.monotonic() - begin
    engine.images.remove(pushed)
    for part in range(2, 12):
        with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as victim:
            time.sleep(took_s * part / 10)
            victim.kill()
        found = engine.images.images()
        assert cli("image", "verify").returncode == 0
        engine.repair()
        for image in found:
            whole(engine, image, made)
            engine.images.remove(pushed)
        nothing_is_there(engine)


def test_ctrl_c_ends_it_at_once_and_leaves_nothing_that_counts(
    engine: Engine, between: Proxy, pushed: str, made: Made
) -> None:
    gate = threading.Event()
    between.faults = [Fault(f"/blobs/{made.blobs[0]}", cut=1_000_000, stall=gate)]
    words = [str(PROGRAM), "image", "pull", f"docker://{between.host}/team/it:1"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as victim:
        try:
            assert eventually(lambda: any(one.sent for one in between.of("GET", f"/blobs/{made.blobs[0]}")))
            victim.send_signal(signal.SIGINT)
            assert victim.wait(30) == 130
        finally:
            gate.set()
            victim.kill()
    assert engine.images.images() == () and os.listdir(engine.images.layers_dir) == []
    nothing_is_there(engine)


# --- as words


def test_the_command_says_what_it_does_and_prints_the_name(cli: Cli, pushed: str) -> None:
    done = cli("image", "pull", f"docker://{pushed}", "--name", "mine")
    assert (done.returncode, done.stdout) == (0, "mine\n")
    lines = done.stderr.splitlines()
    assert lines[0] == f"pulling docker://{pushed}: asking the server"
    assert lines[1] == f"pulling docker://{pushed}: downloading 5M"
    quiet = cli("image", "pull", f"docker://{pushed}", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, f"{pushed}\n", "")
    assert json.loads(cli("image", "pull", f"docker://{pushed}", "--json").stdout)["names"] == [pushed, "mine"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("image", "pull", "docker://HOST/team/it:2"), 3, "has no docker://HOST/team/it:2"),
        (("image", "pull", "docker://HOST/../x"), 2, "is no reference to an image"),
        (("image", "pull", "docker://HOST/team/it:1", "--name", "../x"), 2, "cannot be the name of an image"),
        (("image", "pull", "docker://HOST/team/it:1", "--platform", "plan9"), 3, "is not there for linux/plan9"),
        (("image", "pull", "nowhere:debian/12"), 3, "no remote 'nowhere'"),
        (("image", "pull", "docker://127.0.0.1:1/x"), 7, "the connection to 127.0.0.1:1 failed"),
        (("image", "pull", "docker://no-such-host.invalid/x"), 7, "no-such-host.invalid failed"),
        (("create", "docker://HOST/team/it:2", "web"), 3, "has no docker://HOST/team/it:2"),
        (("create", "docker://HOST/team/it:1", "web", "-o", "a=b"), 2, "has no options"),
    ],
)
def test_wrong_words_are_a_sentence_and_a_code(
    cli: Cli, plain: RunningRegistry, pushed: str, words: tuple[str, ...], code: int, said: str
) -> None:
    done = cli(*(word.replace("HOST", plain.host) for word in words))
    sentence = done.stderr.splitlines()[-2 if "hint:" in done.stderr.splitlines()[-1] else -1]
    assert (done.returncode, done.stdout) == (code, "") and "Traceback" not in done.stderr, done.stderr
    assert sentence.startswith("cloison: ") and said.replace("HOST", plain.host) in sentence, done.stderr
