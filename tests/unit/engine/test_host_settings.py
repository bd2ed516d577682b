"""/etc/cloison/cloison.toml."""

from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.engine import host_settings
from cloison.engine.layout import layout
from cloison.images.servers.settings import Registries, Remote

WHOLE = """
[registries]
insecure = ["registry.lan:5000"]
certificates = ["/etc/certs"]
proxy = "http://proxy:3128"
[registries.mirrors]
"docker.io" = ["https://mirror.lan", "http://second.lan/path"]
[remotes.lan]
url = "https://images.lan"
keyring = "/etc/lan.gpg"
max_age_s = 60
[remotes.tools]
url = "https://registry.lan"
protocol = "oci"
"""


def loaded(tmp_path: Path, text: str) -> host_settings.HostSettings:
    path = tmp_path / "cloison.toml"
    path.write_text(text)
    return host_settings.load(str(path))


def test_no_file_is_the_same_as_an_empty_one(tmp_path: Path) -> None:
    nothing = host_settings.load(f"{tmp_path}/missing.toml")
    assert nothing == loaded(tmp_path, "")
    assert list(nothing.all_remotes) == ["images"]


def test_everything_is_read(tmp_path: Path) -> None:
    found = loaded(tmp_path, WHOLE)
    assert found.registries == Registries(
        ("registry.lan:5000",),
        {"docker.io": ("https://mirror.lan", "http://second.lan/path")},
        ("/etc/certs",),
        "http://proxy:3128",
    )
    assert found.all_remotes["lan"] == Remote("https://images.lan", keyring="/etc/lan.gpg", max_age_s=60)
    assert sorted(found.all_remotes) == ["images", "lan", "tools"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registry = 1", "there is no key registry"),
        ("[registries]\ninsecur = []", "there is no key registries.insecur"),
        ("[remotes.a]\nurl = 'https://a'\nkeyrin = ''", "there is no key remotes.a.keyrin"),
        ("[remotes.a]", "remotes.a: object missing required field `url`"),
        ("[remotes.a]\nurl = 'a.org'", "remotes.a: 'a.org' is no address"),
        ("[remotes.a]\nurl = 'https://u:p@a.org'", "without user and password"),
        ("[remotes.a]\nurl = 'https://a'\nprotocol = 'lxd'", "protocol"),
        ("[remotes.a]\nurl = 'https://a'\nmax_age_s = -1", "remotes.a.max_age_s"),
        ("[remotes.A]\nurl = 'https://a'", "remotes.A"),
        ("[registries]\ninsecure = ['http://a']", "registries.insecure: 'http://a'"),
        ("[registries]\nproxy = 'proxy'", "registries.proxy"),
        ("[registries]\nmirrors = {x = ['y']}", "registries.mirrors"),
        ("[registries", "is no TOML"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        loaded(tmp_path, text)
    assert said in str(refused.value) and str(tmp_path / "cloison.toml") in str(refused.value)


def test_it_is_below_the_root_of_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOISON_ROOT", raising=False)
    assert layout("/x").settings == "/x/etc/cloison.toml"
    assert layout("").settings == "/etc/cloison/cloison.toml"


def test_this_machine_is_insecure_as_it_is_for_docker() -> None:
    known = Registries(insecure=("reg.lan:5000",))
    assert all(
        known.is_insecure(name) for name in ("localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5", "reg.lan:5000")
    )
    assert not any(known.is_insecure(name) for name in ("reg.lan", "127.evil.org", "localhost.org", "1127.0.0.1"))
