"""What the templates of LXD's images mean for instances that are made from them."""

import io
import tarfile
from pathlib import Path

import pytest

from cloison import Engine, Invalid
from cloison.engine.image_archives import import_images
from tests.integration.images.conftest import ran

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_userns, pytest.mark.needs_cgroup]

METADATA = """
architecture: x86_64
templates:
  /etc/hostname: {when: [create, copy], template: hostname.tpl}
  /etc/hosts: {when: [create, copy], template: hosts.tpl}
  /root/seed: {when: [create], template: seed.tpl, properties: {word: hello}}
  /etc/kept: {when: [create, copy], template: seed.tpl, create_only: true}
  /etc/each-time: {when: [start], template: seed.tpl}
  /etc/of-copies: {when: [copy], template: seed.tpl}
  /etc/of-names: {when: [rename], template: seed.tpl}
  /etc/asked: {when: [create, copy], template: asked.tpl, properties: {default: nothing}, uid: 33, gid: 8, mode: "0640"}
  /etc/asked-again: {when: [start], template: asked.tpl, properties: {default: nothing}}
  /link/x: {when: [create], template: seed.tpl}
"""
FILES = {
    "metadata.yaml": METADATA,
    "templates/hostname.tpl": "{{ container.name }}\n",
    "templates/hosts.tpl": "127.0.0.1 localhost\n10.9.9.9 {{ container.name }}.example\n",
    "templates/seed.tpl": "{{ properties.word }} {{ container.name }} {{ trigger }}",
    "templates/asked.tpl": '{%- if config_get("cloud-init.user-data", "") == "" -%}\n'
    '{{ config_get("user.user-data", properties.default) }}\n{%- else -%}\n'
    '{{ config_get("cloud-init.user-data", "") }}\n{%- endif %}\n',
}


@pytest.fixture
def image(engine: Engine, system: Path, tmp_path: Path) -> str:
    place = tmp_path / "image"
    (place / "rootfs").mkdir(parents=True)
    ran("cp", "-a", f"{system}/.", place / "rootfs")
    for name in ("proc", "sys", "run", "root"):
        (place / "rootfs" / name).mkdir()
    (place / "rootfs/root").chmod(0o700)
    (place / "rootfs/etc/kept").write_text("the image's")
    (place / "rootfs/link").symlink_to("/etc")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
        archive.add(place / "rootfs", "rootfs")
    import_images(engine, iter([out.getvalue()]), name="templated")
    return "templated"


def test_the_files_of_an_instance_say_its_name(engine: Engine, image: str) -> None:
    web = engine.launch(image, "web", config=("nics.eth0.type=empty", "init.command=/bin/busybox sleep 1000"))

    def said(path: str) -> str:
        done = web.exec(["/bin/busybox", "cat", path])
        return done.stdout.decode() if done.code == 0 else f"({done.code})"

    assert said("/etc/hostname") == "web\n"
    assert said("/etc/hosts") == "127.0.0.1 localhost\n10.9.9.9 web.example\n"
    assert said("/root/seed") == "hello web create"
    assert web.exec(["/bin/busybox", "stat", "-c", "%a %u", "/root"]).stdout == b"700 0\n"
    assert said("/etc/kept") == "the image's"
    assert said("/etc/each-time") == " web start"
    assert said("/etc/of-copies") == "(1)" and said("/etc/x") == "(1)"
    web.stop(force=True)
    other = engine.copy("web", "other")
    other.start()
    web = other
    assert said("/etc/hostname") == "other\n" and "other.example" in said("/etc/hosts")
    assert said("/etc/of-copies") == " other copy" and said("/etc/each-time") == " other start"
    assert said("/root/seed") == "hello web create"
    other.stop(force=True)


def test_templates_ask_for_what_is_set_until_the_first_start(engine: Engine, image: str) -> None:
    config = ("nics.eth0.type=empty", "init.command=/bin/busybox sleep 1000", "user.user-data=first\n")
    web = engine.create(image, "web", config=config)

    def read(path: str) -> str:
        done = web.exec(["/bin/busybox", "cat", path])
        return done.stdout.decode() if done.code == 0 else f"({done.code})"

    web.set("user.user-data=second\n", "user.other=x")
    web.rename("other")
    web.start()
    assert read("/etc/asked") == read("/etc/asked-again") == "second\n"
    assert web.exec(["/bin/busybox", "stat", "-c", "%a %u %g", "/etc/asked"]).stdout == b"640 33 8\n"
    assert read("/etc/of-names") == " other rename" and read("/etc/hostname") == "other\n"
    web.set("cloud-init.user-data=third")  # of what runs, and at its next start: `create` was before
    web.stop(force=True)
    web.start()
    assert (read("/etc/asked"), read("/etc/asked-again")) == ("second\n", "third\n")
    web.stop(force=True)
    copy = engine.copy("other", "copied")
    copy.set("cloud-init.user-data=")
    copy.set("user.user-data=")
    copy.start()
    web = copy
    assert read("/etc/asked") == "nothing\n"
    copy.stop(force=True)


def test_a_template_that_is_no_small_text_is_refused(engine: Engine) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in {**FILES, "templates/seed.tpl": "x" * (1 << 20), "rootfs/etc/motd": ""}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    with pytest.raises(Invalid, match=r"templates/seed\.tpl of the archive has a MiB or more"):
        import_images(engine, iter([out.getvalue()]), name="templated")
    assert engine.images.images() == ()
