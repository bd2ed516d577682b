"""What is kept of a probe, and for how long it is believed."""

import os
from pathlib import Path

import msgspec
import pytest

from cloison.kernel import probe
from cloison.kernel.probe import Answers, HostFacts


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories that were probed; nothing is really tried."""
    asked: list[str] = []

    def answer(place: str) -> Answers:
        asked.append(place)
        return Answers(openat2=len(asked))

    monkeypatch.setattr(probe, "_try_everything", answer)
    return asked


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "facts.json"


def change(cache: Path, **values: str | int) -> None:
    """Make what is kept look as if it had been found elsewhere."""
    kept = msgspec.json.decode(cache.read_bytes())
    cache.write_bytes(msgspec.json.encode(kept | values))


def test_a_host_is_probed_once(tries: list[str], cache: Path, tmp_path: Path) -> None:
    first = probe.facts(str(cache), str(tmp_path))
    assert probe.facts(str(cache), str(tmp_path)) == first
    assert tries == [str(tmp_path)]


def test_what_is_kept_is_read_back_as_it_was(tries: list[str], cache: Path, tmp_path: Path) -> None:
    found = probe.facts(str(cache), str(tmp_path))
    assert msgspec.json.decode(cache.read_bytes(), type=HostFacts) == found
    assert (found.euid, found.device) == (os.geteuid(), tmp_path.stat().st_dev)


@pytest.mark.parametrize("value", [{"boot_id": "another"}, {"euid": 77}, {"device": 1}])
def test_it_holds_for_one_boot_one_user_and_one_file_system(
    tries: list[str], cache: Path, tmp_path: Path, value: dict[str, str | int]
) -> None:
    probe.facts(str(cache), str(tmp_path))
    change(cache, **value)
    assert probe.facts(str(cache), str(tmp_path)).answers.openat2 == 2


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"boot_id": 7}'])
def test_a_damaged_file_is_made_again(tries: list[str], cache: Path, tmp_path: Path, content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert probe.facts(str(cache), str(tmp_path)).answers.openat2 == 1
    assert probe.facts(str(cache), str(tmp_path)).answers.openat2 == 1


def test_who_asks_for_new_facts_gets_them(tries: list[str], cache: Path, tmp_path: Path) -> None:
    probe.facts(str(cache), str(tmp_path))
    assert probe.facts(str(cache), str(tmp_path), is_fresh=True).answers.openat2 == 2
    assert probe.facts(str(cache), str(tmp_path)).answers.openat2 == 2


def test_a_directory_that_is_not_there_yet_is_probed_where_it_will_be(
    tries: list[str], cache: Path, tmp_path: Path
) -> None:
    probe.facts(str(cache), str(tmp_path / "to" / "come"))
    assert tries == [str(tmp_path)]


def test_a_cache_that_cannot_be_written_costs_time_only(tries: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert probe.facts(str(tmp_path / "file" / "facts.json"), str(tmp_path)).answers.openat2 == 1
