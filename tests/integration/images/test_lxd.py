"""LXD as a witness: it takes what cloison exports, cloison takes what it exports, and both write the same files.

Debian's LXD is not installed, which would have it run for good, but unpacked; it runs in mount, network and PID
namespaces of its own, with everything in one directory, and ends with its first process.
"""

import contextlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import Engine
from cloison.engine.image_archives import export_image, import_images
from tests.integration.apt_archive import unpacked
from tests.integration.conftest import own_files
from tests.integration.images.conftest import ran
from tests.patience import patient

pytestmark = [
    pytest.mark.debian,
    pytest.mark.needs_root,
    pytest.mark.needs_cgroup,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
PACKAGES = ("lxd", "lxd-client", "libdqlite0", "libraft2", "uidmap")  # what else they need, lxc and lxcfs have, too
START = 'mount -t proc proc /proc && ip link set lo up && exec lxd --group root --logfile "$LXD_DIR/log"'
GROUPS = ("lxc.pivot", "lxc.monitor.web", "lxc.payload.web")
Lxc = Callable[..., str]

CLOUD = """\
{%- if config_get("cloud-init.user-data", properties.default) == properties.default -%}
{{ config_get("user.user-data", properties.default) }}
{%- else -%}
{{- config_get("cloud-init.user-data", properties.default) }}
{%- endif %}
"""
# `trigger` is only shown: to LXD 5.0 it is equal to no text, as it is of another type.
ALL = """\
{# of this nothing is seen #}name={{ instance.name }} {{ container.name }} {{ container.architecture }} \t
{{- instance.privileged }} {{ instance.ephemeral }} {{ instance.type }} {{ trigger }} {{ path -}}
 os={{ config_get("image.os", "none") }}{{ properties.missing }} {{ config_get("user.none", 'x') }}
{% if instance.ephemeral %}a text holds{% else %}no{% endif %}
{% if not properties.missing and path != "" %}A{% elif path %}B{% endif %}
{{ "" }} 	{%- if 'a' == "b" or path == "/etc/all" and not properties.x %}

C {%- endif -%}

D { } {{ "{%" }}
"""
METADATA = """\
architecture: x86_64
creation_date: 1700000000
properties: {os: Test, release: "1", description: made by a test}
templates:
  /etc/cloud: {when: [create], template: cloud.tpl, properties: {default: "#cloud-config\\n{}"}}
  /etc/all: {when: [create, start], template: all.tpl}
  /etc/hostname: {when: [create, copy], template: hostname.tpl}
  /etc/present: {when: [create], template: all.tpl, create_only: true}
  /etc/absent: {when: [create], template: all.tpl, create_only: true}
  /etc/never: {when: [copy], template: all.tpl}
"""
FILES = {"cloud": CLOUD, "all": ALL, "hostname": "{{ container.name }}\n"}


@pytest.fixture(scope="module")
def lxc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lxc]:
    """`lxc("image", "ls")`, of a daemon that nobody else knows; LXD_DIR is its first word's answer, `lxc()`."""
    root = unpacked(tmp_path_factory.mktemp("lxd"), PACKAGES)
    directory = tempfile.mkdtemp(prefix="lxd")  # a short name: sockets are in it
    environment = {
        "LXD_DIR": directory,
        "HOME": directory,
        "PATH": f"{root}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu",
    }
    before = {path for name in GROUPS for path in Path("/sys/fs/cgroup").glob(f"*/{name}")}
    namespaces = ("--mount", "--net", "--pid", "--fork", "--kill-child")
    daemon = subprocess.Popen(["unshare", *namespaces, "sh", "-c", START], env=environment)

    def run(*words: str | Path) -> str:
        if not words:
            return directory
        return ran("env", "-i", *(f"{name}={text}" for name, text in environment.items()), "lxc", *words)

    try:
        waited = ["lxd", "waitready", f"--timeout={patient(60):.0f}"]
        subprocess.run(["env", *waited], env=environment, check=True, timeout=patient(90))
        run("storage", "create", "pool", "dir")
        run("profile", "device", "add", "default", "root", "disk", "path=/", "pool=pool")
        yield run
    finally:
        daemon.kill()
        daemon.wait()
        shutil.rmtree(directory)
        for path in {path for name in GROUPS for path in Path("/sys/fs/cgroup").glob(f"*/{name}")} - before:
            with contextlib.suppress(OSError):
                path.rmdir()


def archive(system: Path) -> bytes:
    """An image of LXD's with templates."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in {"metadata.yaml": METADATA, **{f"templates/{n}.tpl": t for n, t in FILES.items()}}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            made.addfile(info, io.BytesIO(text.encode()))
        made.add(system, "rootfs")
    return out.getvalue()


def test_lxd_takes_an_export_and_gives_the_same_image_back(lxc: Lxc, engine: Engine, tmp_path: Path) -> None:
    image = engine.image("busybox")
    exported = tmp_path / "busybox.tar.gz"
    with exported.open("wb") as file:
        file.writelines(export_image(engine, "busybox", "lxd", "gzip"))
    lxc("image", "import", exported, "--alias", "mine")
    (known,) = json.loads(lxc("image", "ls", "mine", "--format", "json"))
    assert (known["architecture"], known["type"]) == ("x86_64", "container")
    assert (known["properties"]["os"], known["properties"]["release"]) == (image.os, image.release)
    lxc("init", "mine", "idle")
    lxc("publish", "idle", "--alias", "published")
    for name in ("mine", "published"):
        lxc("image", "export", name, tmp_path / f"of-{name}")
        (path,) = tmp_path.glob(f"of-{name}*")
        (again,) = import_images(engine, str(path), name=f"again/{name}")
        assert again.layers == image.layers, "the same files, to the byte"
        assert (again.os, again.release, again.architecture) == (image.os, image.release, "amd64")
        assert again.command == image.command
    lxc("delete", "idle")


def test_lxd_and_cloison_write_the_same_files(lxc: Lxc, engine: Engine, tmp_path: Path) -> None:
    system = Path(engine.image("busybox").layers[0])
    copy = tmp_path / "system"
    ran("cp", "-a", system, copy)
    (copy / "etc/present").write_text("the image's")
    (tmp_path / "image.tar").write_bytes(archive(copy))
    lxc("image", "import", tmp_path / "image.tar", "--alias", "templated")
    lxc("init", "templated", "web", "--config", "security.privileged=true")
    lxc("config", "set", "web", "user.user-data=hello\n\n")
    lxc("start", "web")
    theirs = Path(lxc(), "storage-pools/pool/containers/web/rootfs/etc")
    import_images(engine, str(tmp_path / "image.tar"), name="templated")
    web = engine.create("templated", "web", config=("nics.eth0.type=empty", "security.privileged=true"))
    web.set("user.user-data=hello\n\n")
    web.start()
    ours = Path(own_files(web), "etc")
    try:
        for name in ("cloud", "all", "hostname", "absent"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
            assert (ours / name).stat().st_mode == (theirs / name).stat().st_mode
        assert (theirs / "cloud").read_text() == "hello\n" and "no\n" not in (theirs / "all").read_text()
        assert (theirs / "present").read_text() == "the image's" and not (ours / "present").exists()
        assert not (theirs / "never").exists() and not (ours / "never").exists()
    finally:
        lxc("delete", "--force", "web")
