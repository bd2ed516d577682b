"""What registries say about images."""

import json
from typing import Any

import pytest

from cloison.base.errors import NotFound, Remote, Unsupported
from cloison.images import layout
from cloison.images.servers import manifests, platforms
from cloison.images.servers.platforms import Platform

DIGEST = "sha256:" + "ab" * 32
CONFIG = {"mediaType": layout.OCI_CONFIG, "digest": DIGEST, "size": 2}


def document(value: Any) -> bytes:
    return json.dumps(value).encode()


def entry(number: int, architecture: str, variant: str = "", system: str = "linux") -> dict[str, Any]:
    platform = {"architecture": architecture, "os": system} | ({"variant": variant} if variant else {})
    digest = f"sha256:{number:064}"
    return {"mediaType": layout.OCI_MANIFEST, "digest": digest, "size": 1, "platform": platform}


def chosen(wanted: Platform, *entries: dict[str, Any]) -> int:
    found = manifests.chosen(document({"manifests": entries}), wanted, what="x")
    return int(found.digest.removeprefix("sha256:"))


def test_the_manifest_for_the_platform_is_chosen() -> None:
    known = (entry(1, "arm64", "v8"), entry(2, "amd64"), entry(3, "arm", "v6"), entry(4, "arm", "v7"), entry(5, "386"))
    assert chosen(Platform("amd64"), *known) == 2
    assert chosen(platforms.platform_of("arm64"), *known) == 1
    assert chosen(platforms.platform_of("armhf"), *known) == 4
    assert chosen(platforms.platform_of("i386"), *known) == 5


def test_what_is_not_there_names_the_platforms_that_are() -> None:
    with pytest.raises(NotFound, match="x is not there for linux/amd64") as missing:
        chosen(Platform("amd64"), entry(1, "arm64", "v8"), entry(2, "s390x"), entry(3, "unknown", system="unknown"))
    assert missing.value.hint == "there is linux/arm64/v8, linux/s390x; choose with --platform"


def test_a_list_of_one_without_a_platform_is_that_one() -> None:
    assert chosen(Platform("amd64"), {k: v for k, v in entry(7, "").items() if k != "platform"}) == 7


@pytest.mark.parametrize(
    ("content", "told", "kind"),
    [
        ({"mediaType": manifests.DOCKER_MANIFEST}, "text/plain", manifests.DOCKER_MANIFEST),
        ({"schemaVersion": 2}, f"{layout.OCI_INDEX}; charset=utf-8", layout.OCI_INDEX),
        ({"config": {}}, "application/json", layout.OCI_MANIFEST),
        ({"manifests": []}, "", layout.OCI_INDEX),
    ],
)
def test_the_kind_is_told_by_the_document_then_by_the_server(content: Any, told: str, kind: str) -> None:
    assert manifests.kind_of(document(content), told, what="x") == kind


def test_schema_1_is_refused_in_words() -> None:
    for content, told in (
        ({"schemaVersion": 1}, ""),
        ({}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    ):
        with pytest.raises(Unsupported, match="schema 1, which went out of use"):
            manifests.kind_of(document(content), told, what="x")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"schemaVersion": "two"}'])
def test_what_is_no_manifest_is_named(content: bytes) -> None:
    with pytest.raises(Remote, match="manifest of x cannot be read"):
        manifests.kind_of(content, "", what="x")


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "it is for Windows"),
        ("application/vnd.oci.image.layer.v1.tar+bzip2", "is not known"),
    ],
)
def test_a_layer_of_unknown_kind_is_named(layer: str, said: str) -> None:
    body = {"config": CONFIG, "layers": [{"mediaType": layer, "digest": DIGEST, "size": 1}]}
    with pytest.raises(Unsupported, match=said):
        manifests.manifest(document(body), layout.OCI_MANIFEST, what="x")


def test_an_artifact_is_no_image() -> None:
    body = {"config": CONFIG | {"mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": []}
    with pytest.raises(Unsupported, match="artifact of type application/vnd"):
        manifests.manifest(document(body), layout.OCI_MANIFEST, what="x")


@pytest.mark.parametrize("digest", ["", "sha256:..", "sha256:../../x", "md5:ab", "sha512:" + "a" * 128])
def test_a_blob_has_a_sha256(digest: str) -> None:
    with pytest.raises(Remote, match="no sha256 digest"):
        manifests.manifest(document({"config": CONFIG | {"digest": digest}, "layers": []}), "", what="x")


def test_a_platform_is_read_as_docker_reads_it() -> None:
    assert platforms.parse("linux/arm/v7") == platforms.parse("armhf") == Platform("arm", "linux", "v7")
    assert platforms.parse("amd64") == platforms.parse("linux/amd64") == Platform("amd64")
    assert [Platform("arm", "linux", "v7").debian, Platform("386").debian, Platform("s390x").debian] == [
        "armhf",
        "i386",
        "s390x",
    ]
    with pytest.raises(Exception, match="not for Linux"):
        platforms.parse("windows/amd64")
