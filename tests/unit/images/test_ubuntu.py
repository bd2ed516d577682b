"""The template "ubuntu", without building anything."""

from pathlib import Path

import pytest

from cloison.base.errors import Invalid, Unsupported
from cloison.images.templates import debian_tools, ubuntu
from cloison.images.workspace import Workspace


@pytest.fixture
def keyring(tmp_path: Path) -> str:
    path = tmp_path / "keys.gpg"
    path.write_bytes(b"")
    return str(path)


def test_number_code_name_and_nothing_are_the_same_image() -> None:
    assert ubuntu.resolve("", {}) == ubuntu.resolve("24.04", {}) == ubuntu.resolve("noble", {})
    assert ubuntu.resolve("", {}).names == ("ubuntu/24.04", "ubuntu/noble")
    usual = {"components": "main universe", "keyring": ubuntu.KEYRING, "updates": "yes", "packages": "dbus"}
    assert ubuntu.resolve("", usual) == ubuntu.resolve("", {})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("components", "Main"),
        ("keyring", "keys.gpg"),
        ("keyring", "/a b"),
        ("keyring", "/a] http://other"),
        ("updates", "maybe"),
        ("mirror", "archive.ubuntu.com"),
        ("packages", "--purge"),
        ("architecture", "i386"),
        ("colour", "red"),
    ],
)
def test_such_a_value_cannot_be(option: str, value: str) -> None:
    with pytest.raises(Invalid) as wrong:
        ubuntu.resolve("24.04", {option: value})
    assert wrong.value.facts["option"] == option


def test_an_unknown_release_names_those_that_there_are() -> None:
    with pytest.raises(Invalid, match="'hoary'") as wrong:
        ubuntu.resolve("hoary", {})
    assert "24.04 (noble), 22.04 (jammy)" in wrong.value.hint


def test_the_archives_are_lines_with_their_keys_and_the_updates(keyring: str, tmp_path: Path) -> None:
    wish = ubuntu.wish(ubuntu.resolve("jammy", {"keyring": keyring, "packages": "nginx"}))
    assert wish.lines == tuple(
        f"deb [signed-by={keyring}] http://archive.ubuntu.com/ubuntu {suite} main universe"
        for suite in ("jammy", "jammy-updates", "jammy-security")
    )
    assert "nginx" in wish.packages and "systemd-resolved" not in wish.packages
    work = Workspace(f"{tmp_path}", -1)
    argv = debian_tools.mmdebstrap_argv("mmdebstrap", wish, work, ())
    assert argv[-5:] == ["jammy", work.rootfs, *wish.lines]
    hooks = [word for word in argv if "hook" in word]
    assert len(hooks) == 1 and "for d in bin sbin lib " in hooks[0]  # mmdebstrap's own wants a package of Debian's
    bootstrap = debian_tools.debootstrap_argv("debootstrap", wish, work)
    assert bootstrap[-3:] == ["jammy", work.rootfs, "http://archive.ubuntu.com/ubuntu"]
    assert {"--components=main,universe", f"--keyring={keyring}"} <= set(bootstrap)


def test_ports_mirrors_components_and_no_updates(keyring: str, tmp_path: Path) -> None:
    ports = ubuntu.wish(ubuntu.resolve("", {"keyring": keyring, "architecture": "riscv64", "updates": "no"}))
    assert ports.lines == (f"deb [signed-by={keyring}] http://ports.ubuntu.com/ubuntu-ports noble main universe",)
    options = {"keyring": keyring, "mirror": "https://a/u,file:/srv/u", "components": "main", "updates": "no"}
    wish = ubuntu.wish(ubuntu.resolve("", options))
    assert [line.split("] ")[1] for line in wish.lines] == ["https://a/u noble main", "file:/srv/u noble main"]
    argv = debian_tools.mmdebstrap_argv("mmdebstrap", wish, Workspace(f"{tmp_path}", -1), ())
    assert argv[-5].endswith("/hooks/file-mirror-automount")
    assert {"ca-certificates", "systemd-resolved"} <= set(wish.packages)


def test_without_the_keys_nothing_is_tried(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="the keys of Ubuntu's archive are not on this host") as missing:
        ubuntu.wish(ubuntu.resolve("", {"keyring": f"{tmp_path}/none.gpg"}))
    assert "ubuntu-keyring" in missing.value.hint
