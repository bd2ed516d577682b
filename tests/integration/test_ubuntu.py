"""The template "ubuntu", from an archive of this test's own: Ubuntu's is not reached from everywhere."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine
from cloison.images.templates.debian_family import PACKAGES
from tests.integration.apt_archive import Archive, as_ubuntus, fetch, keys, tiny
from tests.integration.conftest import ALONE, PROGRAM, booted, eventually, inside, installation, refused

pytestmark = [
    pytest.mark.debian,
    pytest.mark.needs_root,
    pytest.mark.needs_cgroup,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    place = tmp_path_factory.mktemp("archive")
    packages = as_ubuntus(fetch(place, (*PACKAGES, "systemd-resolved")), place)
    (place / "tree").mkdir()
    with keys(place / "keys.gpg") as signer:
        archive = Archive(place / "tree", signer)
        archive.suite("noble", main=packages, universe=[tiny(place, "of-universe", "1")])
        archive.suite("noble-updates", main=[], universe=[tiny(place, "of-universe", "2")])
        archive.suite("noble-security", main=[], universe=[])
        with archive.served():
            yield archive


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with installation(tmp_path_factory.mktemp("ubuntu") / "root") as engine:
        yield engine


def options(archive: Archive, **more: str) -> dict[str, str]:
    keyring = f"{archive.root.parent}/keys.gpg"
    return {"mirror": archive.address, "keyring": keyring, "packages": "of-universe"} | more


def build(archive: Archive, release: str = "noble", **more: str) -> subprocess.CompletedProcess[str]:
    words = [f"--option={name}={text}" for name, text in options(archive, **more).items()]
    command = [str(PROGRAM), "image", "build", f"ubuntu/{release}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    done.stderr = "".join(line for line in done.stderr.splitlines(keepends=True) if not line.startswith("building "))
    return done


def test_an_ubuntu_is_built_with_its_updates_and_boots(engine: Engine, archive: Archive) -> None:
    image = engine.build("ubuntu/noble", options=options(archive))
    assert (image.os, image.release, image.architecture, image.template) == ("ubuntu", "24.04", "amd64", "ubuntu")
    assert image.names[0].startswith("ubuntu/24.04+") and image.is_system
    assert {path.split("/")[2] for path in archive.asked if path.startswith("/dists/")} == {
        "noble",
        "noble-updates",
        "noble-security",
    }
    instance = engine.launch(image.names[0], "u", config=ALONE)
    assert eventually(lambda: booted(instance), 60)
    assert inside(instance, "sh", "-c", ". /etc/os-release; echo $ID $VERSION_ID") == "ubuntu 24.04\n"
    assert inside(instance, "dpkg-query", "-W", "-f", "${Version}", "of-universe") == "2"
    assert "signed-by=/etc/apt/keyrings/keys.gpg]" in inside(instance, "cat", "/etc/apt/sources.list")
    for name in ("bin", "sbin", "lib", "lib64"):
        assert inside(instance, "readlink", f"/{name}") == f"usr/{name}\n"
    assert "usr-is-merged" not in inside(instance, "dpkg-query", "-W", "-f", "${Package} ")
    instance.stop(timeout_s=30)


def test_keys_that_have_not_signed_it_are_refused_in_a_sentence(
    engine: Engine, archive: Archive, tmp_path: Path
) -> None:
    with keys(tmp_path / "others.gpg"):
        refused(
            build(archive, keyring=f"{tmp_path}/others.gpg"), 7, f"{archive.address} noble is not signed by a key of"
        )
    assert [image.os for image in engine.images.images()] in ([], ["ubuntu"])
    assert os.listdir(engine.images.tmp_dir) == []


def test_what_is_wrong_with_the_archive_is_named(archive: Archive, engine: Engine, tmp_path: Path) -> None:
    refused(build(archive, packages="of-nowhere"), 2, "this release of Ubuntu has no package 'of-nowhere'")
    refused(build(archive, release="22.04"), 7, f"the archive {archive.address} has no release 'jammy'")
    refused(build(archive, keyring=f"{tmp_path}/none.gpg"), 6, "none.gpg", "apt-get install ubuntu-keyring")
    nowhere = build(archive, mirror="http://127.0.0.1:9")
    refused(nowhere, 7, "Ubuntu's packages cannot be used", "127.0.0.1:9")


def test_an_archive_in_a_directory_of_this_host_is_one_too(engine: Engine, archive: Archive) -> None:
    image = engine.build("ubuntu/24.04", options=options(archive, mirror=f"file:{archive.root}", updates="no"))
    top = Path(image.layers[0])
    assert "Version: 1\n" in (top / "var/lib/dpkg/status").read_text().partition("Package: of-universe\n")[2]
    assert not os.path.exists(f"{top}{archive.root}/dists")
    assert f"{archive.root}" not in Path("/proc/self/mountinfo").read_text()
