"""Passwords where Docker keeps them."""

import base64
import json
import os
from pathlib import Path

import pytest

from cloison.base.errors import Denied, Host, Unsupported
from cloison.images.servers.credentials import Credentials, Keyring

ANA = Credentials("ana", "s:e cret")
HELPER = """#!/bin/sh
read -r words
echo "$1 $words" >> "{log}"
case $1 in
get) [ "$words" = reg.org ] || {{ echo "credentials not found in native keychain"; exit 1; }}
     echo '{{"ServerURL":"reg.org","Username":"{user}","Secret":"s3"}}' ;;
store) [ "{user}" != refused ] || {{ echo "the keychain is locked"; exit 1; }} ;;
esac
"""


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(str(tmp_path / "docker" / "config.json"))


def written(keyring: Keyring, document: object) -> Keyring:
    os.makedirs(os.path.dirname(keyring.path), exist_ok=True)
    Path(keyring.path).write_text(json.dumps(document))
    return keyring


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str = "ana") -> Path:
    program, log = tmp_path / "docker-credential-test", tmp_path / "log"
    program.write_text(HELPER.format(log=log, user=user))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return log


def test_what_is_kept_is_found_again_and_only_its_owner_reads_it(keyring: Keyring) -> None:
    assert keyring.get("reg.org:5000") is None
    keyring.put("reg.org:5000", ANA)
    assert keyring.get("reg.org:5000") == ANA and keyring.get("reg.org") is None
    assert os.stat(keyring.path).st_mode & 0o777 == 0o600
    assert keyring.remove("reg.org:5000") and not keyring.remove("reg.org:5000")
    assert keyring.get("reg.org:5000") is None


def test_everything_else_in_the_file_is_dockers_and_stays(keyring: Keyring) -> None:
    written(keyring, {"psFormat": "x", "auths": {"other.org": {"auth": "YTpi"}}, "proxies": {"default": {}}})
    keyring.put("docker.io", ANA)
    auth = base64.b64encode(b"ana:s:e cret").decode()
    assert json.loads(Path(keyring.path).read_text()) == {
        "psFormat": "x",
        "auths": {"other.org": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"auth": auth}},
        "proxies": {"default": {}},
    }
    assert keyring.get("docker.io") == ANA


@pytest.mark.parametrize(
    "key", ["reg.org", "https://reg.org", "https://reg.org/", "reg.org/v1/", "https://reg.org/v2/"]
)
def test_a_host_may_be_written_as_an_address(keyring: Keyring, key: str) -> None:
    written(keyring, {"auths": {key: {"auth": base64.b64encode(b"ana:x").decode()}}})
    assert keyring.get("reg.org") == Credentials("ana", "x")
    keyring.put("reg.org", ANA)
    assert list(json.loads(Path(keyring.path).read_text())["auths"]) == ["reg.org"]


def test_a_token_of_an_identity_is_known(keyring: Keyring) -> None:
    written(keyring, {"auths": {"reg.org": {"auth": base64.b64encode(b"ana:").decode(), "identitytoken": "id"}}})
    assert keyring.get("reg.org") == Credentials("ana", "", "id")


def test_a_symbolic_link_is_followed_and_stays(keyring: Keyring, tmp_path: Path) -> None:
    written(keyring, {})
    os.rename(keyring.path, tmp_path / "elsewhere.json")
    os.symlink(tmp_path / "elsewhere.json", keyring.path)
    keyring.put("reg.org", ANA)
    assert os.path.islink(keyring.path) and "reg.org" in (tmp_path / "elsewhere.json").read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": 3}', '"x"'])
def test_a_damaged_file_is_named_and_left_alone(keyring: Keyring, content: str) -> None:
    written(keyring, {})
    Path(keyring.path).write_text(content)
    with pytest.raises(Host, match=r"config\.json"):
        keyring.put("reg.org", ANA)
    assert Path(keyring.path).read_text() == content


def test_damaged_credentials_are_named_without_being_shown(keyring: Keyring) -> None:
    with pytest.raises(Host, match=r"credentials for reg\.org") as damage:
        written(keyring, {"auths": {"reg.org": {"auth": "%%secret"}}}).get("reg.org")
    assert "secret" not in str(damage.value) and "logout" in damage.value.hint


def test_a_helper_keeps_them_instead(keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = helper(tmp_path, monkeypatch)
    written(keyring, {"credHelpers": {"reg.org": "test"}})
    before = Path(keyring.path).read_text()
    assert keyring.get("reg.org") == Credentials("ana", "s3")
    assert keyring.put("reg.org", ANA) == "docker-credential-test"
    assert keyring.remove("reg.org")
    stored = '{"ServerURL":"reg.org","Username":"ana","Secret":"s:e cret"}'
    assert log.read_text().splitlines() == ["get reg.org", f"store {stored}", "get reg.org", "erase reg.org"]
    assert Path(keyring.path).read_text() == before


def test_a_store_is_asked_for_every_host(keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, user="<token>")
    written(keyring, {"credsStore": "test"})
    assert keyring.get("reg.org") == Credentials(identity="s3")
    assert keyring.get("other.org") is None


def test_what_a_helper_refuses_is_said(keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, user="refused")
    with pytest.raises(Denied, match="the keychain is locked"):
        written(keyring, {"credsStore": "test"}).put("reg.org", ANA)


def test_a_helper_that_is_missing_is_named(keyring: Keyring) -> None:
    with pytest.raises(Unsupported, match="docker-credential-nowhere"):
        written(keyring, {"credsStore": "nowhere"}).get("reg.org")
    with pytest.raises(Host, match=r"names '\.\./x'"):
        written(keyring, {"credsStore": "../x"}).get("reg.org")
