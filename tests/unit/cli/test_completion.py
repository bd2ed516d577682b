from collections.abc import Callable

import pytest

from cloison.cli.main import COMPLETE_VARIABLE, run

from .conftest import FakeEngine, Said


@pytest.fixture
def completed(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """The answers to a line whose last word is being typed, as bash asks for them."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv(COMPLETE_VARIABLE, "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        assert run([]) == 0
        return [answer.partition(",")[2] for answer in capsys.readouterr().out.split()]

    return ask


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("cloison sta", ["start", "stats"]),
        ("cloison start w", ["web"]),
        ("cloison start web ", ["db"]),
        ("cloison exec ", ["db", "web"]),
        ("cloison explain d", ["db"]),
        ("cloison set web limits.m", ["limits.memory=", "limits.memory_soft="]),
        ("cloison set web limits.rlimits.no", ["limits.rlimits.nofile="]),
        ("cloison set web limits.ra", ["limits.raw."]),
        ("cloison get web boot.own", ["boot.own_clock"]),
        ("cloison kill -s sigk", ["SIGKILL"]),
        ("cloison completion z", ["zsh"]),
        ("cloison image t", ["tag", "templates"]),
        ("cloison nic set web e", ["eth0"]),
        ("cloison nic set web eth0 limits.i", ["limits.ingress="]),
        ("cloison nic add web eth1 ne", ["network="]),
        ("cloison port remove web 8", ["8080/tcp"]),
        ("cloison create busybox --network ", ["lan", "empty", "host", "none"]),
        ("cloison network info l", ["lan"]),
        ("cloison network delete lan ", []),
        ("cloison network set lan ipv", ["ipv4=", "ipv6="]),
        ("cloison launch ", []),  # a broken installation completes nothing, and says nothing
    ],
)
def test_names_and_keys_complete(completed: Callable[[str], list[str]], line: str, answers: list[str]) -> None:
    assert completed(line) == answers


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(cloison: Callable[[str], Said], shell: str) -> None:
    said = cloison(f"completion {shell}")
    assert said.code == 0
    assert COMPLETE_VARIABLE in said.out
