"""Images that other programs made are taken in, and those that are written are read by them: with the same id."""

import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Image
from cloison.base.errors import Invalid, Unsupported
from cloison.engine.image_archives import export_image, import_images, verify_images
from cloison.images.architecture import host_architecture, runs_here
from tests.integration.conftest import installation
from tests.integration.images.conftest import Cli, Docker, portrait, ran

pytestmark = pytest.mark.needs_root


def take(engine: Engine, path: Path, **words: str) -> Image:
    """The only image of an archive; the store has it as it was."""
    (image,) = import_images(engine, str(path), **words)  # type: ignore[arg-type]
    assert [verdict.damage for verdict in verify_images(engine, ())] == [()] * len(engine.images.images())
    return image


def give(engine: Engine, image: Image, path: Path, form: str, compression: str = "none") -> Path:
    """The image as an archive in a file."""
    with path.open("wb") as file:
        file.writelines(export_image(engine, image.digest, form, compression))
    return path


def as_docker_has_it(image: Image) -> None:
    """What the Dockerfile of `built` says."""
    assert image.command == ("/bin/busybox", "httpd", "-f") and image.entrypoint == ("/bin/busybox",)
    assert "GREETING=good day" in image.env and (image.user, image.workdir) == ("33:44", "/srv")
    assert (image.ports, image.volumes, image.stop_signal) == (("80/tcp",), ("/data",), "SIGINT")
    assert image.labels["org.example.kind"] == "web"
    assert (image.os, image.release, image.architecture) == ("tiny", "1.2", "amd64")
    assert (Path(image.layers[-1]) / "bin/su").stat().st_mode & 0o7777 == 0o4755
    assert (Path(image.layers[-1]) / "etc/hostname").read_text() == "LXC_NAME\n"
    assert any((Path(layer) / "srv/page").exists() for layer in image.layers)


# --- docker ----------------------------------------------------------------------------------------------


def test_what_docker_saves_has_dockers_id(engine: Engine, docker: Docker, built: str, tmp_path: Path) -> None:
    docker("save", "--output", tmp_path / "web.tar", "web:1", "web:latest")
    image = take(engine, tmp_path / "web.tar")
    assert image.id == built
    assert set(image.names) == {"web:1", "web:latest"}
    as_docker_has_it(image)


@pytest.mark.parametrize("pack", ["cat", "gzip", "zstd"])
def test_what_docker_saves_may_come_as_a_stream(
    cli: Cli, engine: Engine, docker: Docker, built: str, tmp_path: Path, pack: str
) -> None:
    docker("save", "--output", tmp_path / "web.tar", "web:1")
    with (tmp_path / "web.tar").open("rb") as file:
        packed = subprocess.run([pack], stdin=file, stdout=subprocess.PIPE, check=True).stdout
    done = cli("image", "import", "-", stdin=packed)
    assert (done.returncode, done.stdout) == (0, b"web:1\n"), done.stderr
    assert engine.images.find("web:1").id == built


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_docker_loads_what_is_exported_with_the_same_id(
    engine: Engine, docker: Docker, built: str, tmp_path: Path, form: str
) -> None:
    if form == "oci" and int(docker("version", "--format", "{{.Server.Version}}").split(".")[0]) < 25:
        pytest.skip("docker reads the OCI's layout since version 25")
    docker("save", "--output", tmp_path / "web.tar", "web:1")
    image = take(engine, tmp_path / "web.tar", name="again:7")
    docker("image", "rm", "--force", built)
    try:
        give(engine, image, tmp_path / "out.tar", form)
        docker("load", "--input", tmp_path / "out.tar")
        assert docker("image", "inspect", "--format", "{{.Id}}", "again:7") == built
    finally:
        docker("load", "--input", tmp_path / "web.tar")


def test_docker_imports_a_root_file_system_that_was_exported(
    engine: Engine, docker: Docker, archive: Path, tmp_path: Path
) -> None:
    image = take(engine, archive)
    assert give(engine, image, tmp_path / "root.tar", "tar").read_bytes() == archive.read_bytes()
    docker("import", tmp_path / "root.tar", "flat:1")
    docker("image", "rm", "flat:1")


# --- podman, skopeo, umoci -------------------------------------------------------------------------------


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Docker]:
    """Podman with a storage of its own; its run directory has to have a short name."""
    if subprocess.run(["which", "podman"], stdout=subprocess.DEVNULL).returncode:
        pytest.skip("podman is not installed")

    with tempfile.TemporaryDirectory(prefix="pm-") as short:

        def run(*words: str | Path, stdin: bytes = b"") -> str:
            where = (f"--root={tmp_path}/podman", f"--runroot={short}", f"--tmpdir={short}", "--storage-driver=vfs")
            return ran("podman", *where, *words, stdin=stdin).strip()

        yield run


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_what_podman_saves_keeps_its_id_and_comes_back(
    engine: Engine, docker: Docker, built: str, podman: Docker, tmp_path: Path, form: str
) -> None:
    docker("save", "--output", tmp_path / "web.tar", "web:1")
    podman("load", "--input", tmp_path / "web.tar")
    saved = tmp_path / "saved"
    podman("save", "--format", form, "--output", saved, "web:1")
    image = take(engine, saved, name="from-podman:1")
    # Podman writes another config into OCI archives than it keeps: what counts is that in the archive.
    transport = "oci" if form == "oci-dir" else form
    config = ran("skopeo", "inspect", "--raw", "--config", f"{transport}:{saved}").encode()
    assert image.id == f"sha256:{hashlib.sha256(config).hexdigest()}"
    as_docker_has_it(image)
    podman("image", "rm", "web:1")
    give(engine, image, tmp_path / "out.tar", "oci" if form.startswith("oci") else "docker", "gzip")
    podman("load", "--input", tmp_path / "out.tar")
    assert podman("image", "ls", "--no-trunc", "--format", "{{.Id}}").removeprefix("sha256:") == image.id[7:]


def test_skopeo_and_umoci_read_what_is_exported(
    engine: Engine, docker: Docker, built: str, system: Path, tmp_path: Path
) -> None:
    docker("save", "--output", tmp_path / "web.tar", "web:1")
    image = take(engine, tmp_path / "web.tar")
    out = give(engine, image, tmp_path / "out.tar", "oci")
    config = ran("skopeo", "inspect", "--raw", "--config", f"oci-archive:{out}").encode()
    assert f"sha256:{hashlib.sha256(config).hexdigest()}" == built
    manifest = json.loads(
        ran("skopeo", "inspect", f"docker-archive:{give(engine, image, tmp_path / 'd.tar', 'docker')}")
    )
    assert manifest["Layers"] == [layer.diff_id for layer in engine.images.layers_of(image)]
    ran("skopeo", "--insecure-policy", "copy", f"oci-archive:{out}", f"oci:{tmp_path}/layout:it")
    ran("umoci", "unpack", "--image", f"{tmp_path}/layout:it", tmp_path / "bundle")
    unpacked, wanted = portrait(tmp_path / "bundle/rootfs"), portrait(system)
    assert unpacked["etc/hostname"][4] == b"<h1>web</h1>"
    for name in ("bin/su", "bin/serve", "sbin/init", "var/empty", "var/sparse", "usr/lib/os-release"):
        assert unpacked[name] == wanted[name], name


def test_a_layout_that_umoci_made_is_taken_in(engine: Engine, system: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    (tmp_path / "more").write_text("more")
    ran("umoci", "init", "--layout", layout)
    ran("umoci", "new", "--image", f"{layout}:1")
    ran("umoci", "insert", "--image", f"{layout}:1", system, "/")
    ran("umoci", "insert", "--image", f"{layout}:1", tmp_path / "more", "/srv/more")
    ran("umoci", "config", "--image", f"{layout}:1", "--config.cmd", "/bin/sh")
    image = take(engine, layout, name="umoci:1", platform="linux/amd64")
    assert image.command == ("/bin/sh",) and len(image.layers) == 2
    assert (Path(image.layers[0]) / "srv/more").read_text() == "more"
    packed = tmp_path / "layout.tar"
    ran("tar", "-C", layout, "-cf", packed, ".")
    assert take(engine, packed, platform="linux/amd64").id == image.id
    with pytest.raises(Invalid, match="the image is for linux/amd64, and not for linux/arm64"):
        take(engine, packed, platform="linux/arm64")


def test_an_image_for_several_platforms_is_taken_for_this_one(engine: Engine, system: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    ran("umoci", "init", "--layout", layout)
    for name in ("amd64", "arm64"):
        ran("umoci", "new", "--image", f"{layout}:{name}")
        ran("umoci", "config", "--image", f"{layout}:{name}", "--architecture", name, "--config.cmd", f"/{name}")
        ran("umoci", "insert", "--image", f"{layout}:{name}", system / "usr", "/usr")
    index = json.loads((layout / "index.json").read_text())
    for entry, name in zip(index["manifests"], ("amd64", "arm64"), strict=True):
        entry["platform"] = {"architecture": name, "os": "linux"}
        entry["annotations"] = {}
    inner = json.dumps({"schemaVersion": 2, "manifests": index["manifests"]}).encode()
    digest = hashlib.sha256(inner).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(inner)
    kind = "application/vnd.oci.image.index.v1+json"
    outer = {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(inner), "annotations": {}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [outer]}))
    assert take(engine, layout, name="many:1").command == ("/amd64",)
    other = take(engine, layout, name="many:arm", platform="linux/arm64")
    assert (other.command, other.architecture) == (("/arm64",), "arm64")
    if host_architecture() == "amd64" and not runs_here("arm64"):
        with pytest.raises(Unsupported, match="the image many:arm is for arm64, and this machine is amd64"):
            engine.create("many:arm", "foreign", config=["nics.eth0.type=empty"])
        assert engine.instances() == ()


@pytest.mark.parametrize("way", ["file", "stream"])
@pytest.mark.parametrize("config_name", ["sha256:{}", "config.json", "{}.json"])
def test_an_archive_of_docker_made_by_others_is_no_root_file_system(
    engine: Engine, archive: Path, tmp_path: Path, config_name: str, way: str
) -> None:
    plain = archive.read_bytes()
    packed, diff_id = gzip.compress(plain), f"sha256:{hashlib.sha256(plain).hexdigest()}"
    config = json.dumps(
        {
            "architecture": platform.machine().replace("x86_64", "amd64"),
            "os": "linux",
            "config": {"Cmd": ["/bin/serve"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()
    name = config_name.format(hashlib.sha256(config).hexdigest())
    layer = f"{hashlib.sha256(packed).hexdigest()}.tar.gz"
    manifest = json.dumps([{"Config": name, "RepoTags": ["tools/web:1"], "Layers": [layer]}]).encode()
    with tarfile.open(tmp_path / "web.tar", "w") as out:
        for member, content in ((name, config), (layer, packed), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    path = tmp_path / "web.tar"
    (image,) = import_images(engine, iter([path.read_bytes()]) if way == "stream" else str(path))
    assert (image.names, image.command) == (("tools/web:1",), ("/bin/serve",))
    assert image.id == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert engine.images.layers_of(image)[0].diff_id == diff_id


# --- root file systems -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", ["cat", "gzip", "xz", "zstd", "bzip2"])
def test_a_root_file_system_is_taken_in_as_it_is(
    engine: Engine, system: Path, archive: Path, tmp_path: Path, pack: str
) -> None:
    packed = tmp_path / f"tiny-1.2-x86_64.tar.{pack}"
    with archive.open("rb") as source, packed.open("wb") as target:
        subprocess.run([pack], stdin=source, stdout=target, check=True)
    image = take(engine, packed, name="tiny")
    assert portrait(image.layers[0]) == portrait(system)
    assert (image.os, image.release, image.architecture, image.is_system) == ("tiny", "1.2", "amd64", True)
    assert (image.command, image.stop_signal) == (("/sbin/init",), "SIGUSR2")
    assert engine.images.layers_of(image)[0].diff_id == f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"


def test_a_directory_is_taken_in_and_left_alone(engine: Engine, system: Path) -> None:
    before = portrait(system)
    image = take(engine, system, name="tiny")
    assert portrait(image.layers[0]) == before == portrait(system)


def test_a_squashfs_is_taken_in_and_written(engine: Engine, system: Path, tmp_path: Path) -> None:
    ran("mksquashfs", system, tmp_path / "tiny.squashfs", "-quiet", "-no-progress", "-comp", "gzip")
    image = take(engine, tmp_path / "tiny.squashfs", name="tiny")
    wanted = portrait(system)
    assert portrait(image.layers[0]) == wanted
    out = give(engine, image, tmp_path / "out.squashfs", "squashfs")
    ran("unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "there", out)
    assert portrait(tmp_path / "there") == wanted
    (again,) = import_images(engine, iter([(tmp_path / "tiny.squashfs").read_bytes()]), name="streamed")
    assert again.layers == image.layers


def test_the_name_of_an_openvz_template_says_what_its_files_do_not(
    engine: Engine, system: Path, tmp_path: Path
) -> None:
    path = tmp_path / "centos-6-x86_64-minimal.tar.gz"
    old = ("--exclude=./etc/os-release", "--exclude=./usr/lib/os-release", "--exclude=./bin/busybox")
    ran("tar", "-C", system, *old, "-czf", path, ".")
    image = take(engine, path)
    assert image.names == ("centos-6-x86_64-minimal",)
    assert (image.os, image.release, image.architecture) == ("centos", "6", "amd64")
    assert image.properties["variant"] == "minimal"


METADATA = """
architecture: x86_64
creation_date: 1700000000
properties:
  description: Tiny 1.2
  os: Tiny
  release: "1.2"
  serial: 20240101
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
  /etc/strange:
    when: [start]
    template: strange.tpl
"""


@pytest.fixture
def lxd(system: Path, tmp_path: Path) -> Path:
    """The directory of an image of LXD's, before it is packed."""
    place = tmp_path / "lxd"
    (place / "templates").mkdir(parents=True)
    (place / "metadata.yaml").write_text(METADATA)
    (place / "templates/hostname.tpl").write_text("{{ container.name }}\n")
    (place / "templates/strange.tpl").write_text("{% include '/etc/shadow' %}")
    ran("cp", "-a", system, place / "rootfs")
    return place


def is_lxds(image: Image, system: Path) -> None:
    assert image.properties["serial"] == "20240101" and image.properties["description"] == "Tiny 1.2"
    (template,) = image.templates
    assert (template.path, template.when, template.text) == (
        "/etc/hostname",
        ("create", "copy"),
        "{{ container.name }}\n",
    )
    assert "the template of /etc/strange is left out: {% include '/etc/shadow' %}" in image.properties["warning"]
    assert portrait(image.layers[0]) == portrait(system)


def test_an_image_of_lxd_in_one_part_comes_and_goes(engine: Engine, lxd: Path, system: Path, tmp_path: Path) -> None:
    ran("tar", "-C", lxd, "--xattrs", "--xattrs-include=*", "-cJf", tmp_path / "tiny.tar.xz", *os.listdir(lxd))
    image = take(engine, tmp_path / "tiny.tar.xz")
    is_lxds(image, system)
    give(engine, image, tmp_path / "out.tar", "lxd")
    (tmp_path / "there").mkdir()
    ran("tar", "-C", tmp_path / "there", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "out.tar")
    assert portrait(tmp_path / "there/rootfs") == portrait(system)
    assert "serial: '20240101'" in (tmp_path / "there/metadata.yaml").read_text()
    again = take(engine, tmp_path / "out.tar", name="again")
    assert again.templates == image.templates
    is_lxds(take(engine, lxd, name="directory"), system)


@pytest.mark.parametrize("form", ["squashfs", "tar.xz"])
def test_an_image_of_lxd_in_two_parts(
    engine: Engine, cli: Cli, lxd: Path, system: Path, tmp_path: Path, form: str
) -> None:
    ran("tar", "-C", lxd, "-cJf", tmp_path / "lxd.tar.xz", "metadata.yaml", "templates")
    root = tmp_path / f"rootfs.{form}"
    if form == "squashfs":
        ran("mksquashfs", lxd / "rootfs", root, "-quiet", "-no-progress")
    else:
        ran("tar", "-C", lxd / "rootfs", "--xattrs", "--xattrs-include=*", "-cJf", root, ".")
    done = cli("image", "import", tmp_path / "lxd.tar.xz", "tiny/1", "--rootfs", root)
    assert (done.returncode, done.stdout) == (0, b"tiny/1\n"), done.stderr
    is_lxds(engine.images.find("tiny/1"), system)
    alone = cli("image", "import", tmp_path / "lxd.tar.xz")
    assert alone.returncode == 2 and b"one half of a split image" in alone.stderr


def test_a_container_of_lxc_is_an_image(engine: Engine, system: Path, tmp_path: Path) -> None:
    place = tmp_path / "lxc"
    place.mkdir()
    (place / "config").write_text("lxc.uts.name = x\n")
    (place / "templates").write_text("/etc/hostname\n/etc/../../../etc/passwd\n/etc/missing\n")
    ran("cp", "-a", system, place / "rootfs")
    ran("tar", "-C", place, "--xattrs", "--xattrs-include=*", "-czf", tmp_path / "lxc.tar.gz", ".")
    image = take(engine, tmp_path / "lxc.tar.gz")
    assert [(each.path, each.text) for each in image.templates] == [("/etc/hostname", "{{ container.name }}\n")]
    assert portrait(image.layers[0]) == portrait(system)


@pytest.mark.debian
def test_what_mmdebstrap_writes_is_taken_in(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "debian-12.tar"
    ran("mmdebstrap", "--quiet", "--variant=extract", "--include=base-files,busybox-static", "bookworm", path)
    image = take(engine, path)
    assert (image.os, image.release, image.architecture) == ("debian", "12", "amd64")
    assert give(engine, image, tmp_path / "out.tar", "tar").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_image_of_two_names_is_one_in_its_archive(engine: Engine, archive: Path, tmp_path: Path, form: str) -> None:
    image = take(engine, archive, name="tiny/1.2")
    engine.images.tag("tiny/1.2", "tiny/one")
    give(engine, engine.images.find("tiny/1.2"), tmp_path / "out.tar", form)
    with installation(tmp_path / "elsewhere") as other:
        (again,) = import_images(other, str(tmp_path / "out.tar"))
        tag = "" if form == "oci" else ":latest"  # docker wants one
        assert again.names == (f"tiny/1.2{tag}", f"tiny/one{tag}")
        (named,) = import_images(other, str(tmp_path / "out.tar"), name="mine")
        assert (named.id, named.layers[0].rpartition("/")[2]) == (image.id, image.layers[0].rpartition("/")[2])
