"""The files that say who an instance is: made right, and nobody's own words are lost."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cloison.engine import identity, networks
from cloison.engine.layout import Layout
from cloison.engine.networks import NetworkRecord
from cloison.engine.pools import Pools
from cloison.engine.records import Claim, Record
from cloison.engine.store import Store
from cloison.spec.config import Config, assign_all
from cloison.spec.networks import Options

LAN = NetworkRecord("lan", "lan", 1, "10.9.0.1/24", "fd00:9::1/64", Options(domain="lab"))
CLAIMS = {"eth0": Claim(0, "02:c1:05:00:00:01", ("10.9.0.7/24", "fd00:9::7/64"))}
Refresh = Callable[..., None]


def record(tmp_path: Path, *settings: str, name: str = "web", claims: dict[str, Claim] = CLAIMS) -> Record:
    config = assign_all(Config(), settings)
    layers = (str(tmp_path / "image"),)
    return Record("0123456789ab", name, "container", "sha256:0", "tiny", 1, 0, config, layers=layers, claims=claims)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Where the instance's own files of /etc will be."""
    (tmp_path / "image/etc").mkdir(parents=True)
    (tmp_path / "lib/instances/0123456789ab").mkdir(parents=True)
    (tmp_path / "lib/storage/default/trees/0123456789ab/upper").mkdir(parents=True)
    return tmp_path / "lib/storage/default/trees/0123456789ab/upper/etc"


@pytest.fixture
def refresh(tmp_path: Path) -> Refresh:
    layout = Layout(str(tmp_path), f"{tmp_path}/lib", f"{tmp_path}/run")
    store = Store(str(tmp_path / "state.db"))
    with store.transaction() as changes:
        networks.add(changes, LAN)
    engine: Any = SimpleNamespace(layout=layout, store=store)
    engine.pools = Pools(engine)

    def run(*settings: str, **how: Any) -> None:
        identity.introduce(engine, record(tmp_path, *settings, **how))

    return run


ON_LAN = "nics.eth0.network=lan"


def test_one_on_a_network_knows_itself_and_its_name_servers(refresh: Refresh, etc: Path) -> None:
    refresh(ON_LAN)
    assert (etc / "hostname").read_text() == "web\n"
    assert (etc / "hosts").read_text().endswith("10.9.0.7 web.lab web\nfd00:9::7 web.lab web\n")
    assert (etc / "resolv.conf").read_text().endswith("search lab\nnameserver 10.9.0.1\nnameserver fd00:9::1\n")


def test_one_without_a_network_has_no_name_servers(refresh: Refresh, etc: Path) -> None:
    refresh(claims={})
    assert (etc / "hosts").read_text().endswith("127.0.1.1 web\n")
    assert not (etc / "resolv.conf").exists()


def test_name_servers_that_were_set_go_before_the_networks(refresh: Refresh, etc: Path) -> None:
    refresh(ON_LAN, "nics.eth0.dns=9.9.9.9")
    assert (etc / "resolv.conf").read_text().splitlines()[1:] == ["search lab", "nameserver 9.9.9.9"]


def test_what_was_written_follows_what_is_set(refresh: Refresh, etc: Path) -> None:
    refresh(ON_LAN)
    refresh(ON_LAN, "nics.eth0.dns=9.9.9.9", name="db")
    assert (etc / "hostname").read_text() == "db\n"
    assert "web" not in (etc / "hosts").read_text()
    assert "9.9.9.9" in (etc / "resolv.conf").read_text()


@pytest.mark.parametrize("name", ["hostname", "hosts", "resolv.conf"])
def test_what_somebody_wrote_stays(refresh: Refresh, etc: Path, name: str) -> None:
    refresh(ON_LAN)
    (etc / name).write_text("my own\n")
    refresh(ON_LAN, "nics.eth0.dns=9.9.9.9", name="db")
    assert (etc / name).read_text() == "my own\n"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_what_is_gone_or_empty_is_written_again(refresh: Refresh, etc: Path, content: str | None) -> None:
    refresh(ON_LAN)
    (etc / "hosts").unlink() if content is None else (etc / "hosts").write_text(content)
    refresh(ON_LAN)
    assert "10.9.0.7 web" in (etc / "hosts").read_text()


def test_the_images_file_is_replaced_for_the_instance_alone(refresh: Refresh, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "image/etc/hostname").write_text("build-host\n")
    refresh()
    assert (etc / "hostname").read_text() == "web\n"
    assert (tmp_path / "image/etc/hostname").read_text() == "build-host\n"


def test_a_link_of_a_resolver_stays_and_systemd_resolved_is_told(refresh: Refresh, etc: Path, tmp_path: Path) -> None:
    link = tmp_path / "image/etc/resolv.conf"
    link.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    refresh(ON_LAN)
    assert not (etc / "resolv.conf").exists()
    assert (
        (etc / "systemd/resolved.conf.d/cloison.conf")
        .read_text()
        .endswith("[Resolve]\nDNS=10.9.0.1 fd00:9::1\nDomains=lab\n")
    )


def test_etc_that_leads_elsewhere_is_left_alone(refresh: Refresh, etc: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    etc.symlink_to(outside)
    refresh(ON_LAN)
    assert list(outside.iterdir()) == []


def test_nothing_is_written_twice(refresh: Refresh, etc: Path) -> None:
    refresh(ON_LAN)
    before = {path: path.stat().st_ino for path in etc.iterdir()}
    refresh(ON_LAN)
    assert {path: path.stat().st_ino for path in etc.iterdir()} == before


def test_what_is_remembered_can_be_lost(refresh: Refresh, tmp_path: Path, etc: Path) -> None:
    refresh(ON_LAN)
    store = Store(str(tmp_path / "state.db"))
    memory = store.get("texts/0123456789ab")
    assert memory is not None
    assert set(msgspec.json.decode(memory.value)) == {"etc/hostname", "etc/hosts", "etc/resolv.conf"}
    with store.transaction() as changes:
        changes.put("texts/0123456789ab", b"{")
    refresh(ON_LAN, name="db")
    assert (etc / "hostname").read_text() == "web\n"  # nobody knows any more whose that is


def test_what_an_older_cloison_remembered_still_counts(refresh: Refresh, tmp_path: Path, etc: Path) -> None:
    etc.mkdir()
    (etc / "hostname").write_text("old\n")
    (tmp_path / "lib/instances/0123456789ab/identity.json").write_text('{"etc/hostname": "old\\n"}')
    refresh()
    assert (etc / "hostname").read_text() == "web\n"


def test_what_was_written_before_a_death_is_known_again(refresh: Refresh, etc: Path) -> None:
    etc.mkdir()
    (etc / "hostname").write_text("web\n")  # and nobody came to remember it
    refresh()
    refresh(name="db")
    assert (etc / "hostname").read_text() == "db\n"
