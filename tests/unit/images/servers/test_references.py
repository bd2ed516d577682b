"""What people write for images in registries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import CloisonError, Invalid, Unsupported
from cloison.images.servers.references import Reference, host_of, parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker://alpine", Reference("docker.io", "library/alpine", "latest", "")),
        ("docker://alpine:3.20", Reference("docker.io", "library/alpine", "3.20", "")),
        ("docker://ana/tool", Reference("docker.io", "ana/tool", "latest", "")),
        ("docker://index.docker.io/library/debian:12", Reference("docker.io", "library/debian", "12", "")),
        ("docker://localhost/x", Reference("localhost", "x", "latest", "")),
        ("docker://localhost:5000/a/b/c:V1.0_x", Reference("localhost:5000", "a/b/c", "V1.0_x", "")),
        ("docker://[::1]:5000/a", Reference("[::1]:5000", "a", "latest", "")),
        (f"docker://quay.io/x/y@{DIGEST}", Reference("quay.io", "x/y", "", DIGEST)),
        (f"docker://quay.io/x/y:1@{DIGEST}", Reference("quay.io", "x/y", "", DIGEST)),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("reference", ["docker://alpine", f"docker://quay.io/x/y@{DIGEST}", "docker://h:1/a/b:2"])
def test_a_name_is_read_back_as_the_same(reference: str) -> None:
    assert parse(str(parse(reference))) == parse(reference)


@pytest.mark.parametrize(
    "text",
    "docker:// docker://../x docker://h.io/../../etc/passwd docker://Alpine docker://a:b:c docker://a/ docker://h.io/a//b"
    " docker://a:-x docker://a@sha256:12 docker://h:99999/a docker:///x docker://u:p@h.io/x docker://h.io/a?x=1"
    " docker://h.io/a#x".split(),
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_white_space_is_no_part_of_a_reference() -> None:
    for text in ("docker://a b", "docker://a\n", "docker://h.io /a"):
        with pytest.raises(Invalid):
            parse(text)


def test_another_kind_of_digest_is_named() -> None:
    with pytest.raises(Unsupported, match="another kind than sha256"):
        parse("docker://a@sha512:" + "0" * 128)


@given(st.text())
def test_whatever_is_written_is_a_reference_or_an_error_of_ours(text: str) -> None:
    try:
        found = parse(text)
    except CloisonError:
        return
    assert ".." not in found.repository.split("/") and not found.repository.startswith("/")


def test_a_host_has_one_spelling() -> None:
    assert host_of("https://Registry.Example.org/") == "registry.example.org"
    assert host_of("https://index.docker.io/v1/") == host_of("registry-1.docker.io") == "docker.io"
    for wrong in ("", "a/b", "a b", "-", "h:123456"):
        with pytest.raises(Invalid):
            host_of(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "docker://ana:s3cret@h.io/x",
        "docker://ana:s3cret@h.io:5000/x:1",
        "docker://ana:s3c/ret@h.io/x",
        "docker://s3cret@h.io/x@sha256:12",
        "docker://ana:s3cret@h.io",
    ],
)
def test_a_password_in_a_reference_is_not_shown_and_the_way_is_named(text: str) -> None:
    with pytest.raises(Invalid, match="has a user in it") as wrong:
        parse(text)
    assert wrong.value.hint.startswith("cloison login ")
    assert "s3cret" not in f"{wrong.value.sentence} {wrong.value.hint} {wrong.value.facts}"


def test_a_registry_with_a_password_before_it_is_no_registry() -> None:
    with pytest.raises(Invalid, match=r"'\*\*\*@h\.io' has a user in it") as wrong:
        host_of("https://ana:s3cret@h.io/")
    assert "s3cret" not in f"{wrong.value.hint} {wrong.value.facts}"
