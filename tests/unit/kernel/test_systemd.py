"""Whether systemd is process 1, and from where on the control groups are its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloison.base.errors import Kernel, Unsupported
from cloison.kernel import systemd

SCOPE = systemd.Scope("cloison.scope", "cloison.slice", "containers of cloison")
# systemd-run as it is for a scope: it becomes the program that it was given.
RUNS = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a program of systemd first in PATH, as a shell script."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")

    def installed(name: str, script: str) -> None:
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)

    return installed


HYBRID = "12:devices:/init.scope\n6:freezer:/\n1:name=systemd:/init.scope\n0::/init.scope\n"


@pytest.mark.parametrize(
    ("cgroup", "top"),
    [
        ("0::/init.scope\n", ""),
        (HYBRID, ""),
        ("1:name=systemd:/init.scope\n", ""),
        ("0::/lxc.payload.c1/init.scope\n", "/lxc.payload.c1"),
        ("0::/\n", None),
        ("0::/system.slice/docker-1a2b.scope\n", None),
        ("12:devices:/init.scope\n", None),
        ("", None),
    ],
)
def test_process_1_says_it_by_where_it_sits(cgroup: str, top: str | None) -> None:
    assert systemd.top_of(cgroup) == top


def test_another_user_than_root_has_no_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert systemd.top() is None


def test_a_scope_is_asked_for_with_all_that_it_needs(install: Install, tmp_path: Path) -> None:
    install("systemd-run", f'echo "$@" >{tmp_path}/words; {RUNS}')
    with systemd.made(SCOPE, str(tmp_path / "keepers")) as refused:
        assert refused is None
        assert (tmp_path / "keepers" / "cgroup.procs").read_text() == "0\n"
    words = (tmp_path / "words").read_text().split()
    assert {"--scope", "--collect", "--unit=cloison.scope", "--slice=cloison.slice"} <= set(words)
    assert {"--property=Delegate=yes", "--property=TasksMax=infinity"} <= set(words)


def test_a_scope_that_is_refused_says_why(install: Install, tmp_path: Path) -> None:
    install("systemd-run", "echo 'Unit cloison.scope was already loaded' >&2; exit 1")
    with systemd.made(SCOPE, str(tmp_path / "keepers")) as refused:
        assert refused == "Unit cloison.scope was already loaded"


def test_nobody_joins_a_group_that_is_not_there(install: Install, tmp_path: Path) -> None:
    with systemd.joined(str(tmp_path / "nowhere")) as is_there:
        assert not is_there
    with systemd.joined(str(tmp_path)) as is_there:
        assert is_there


def test_the_state_is_what_systemctl_says(install: Install, tmp_path: Path) -> None:
    install("systemctl", f'echo "$@" >{tmp_path}/words; echo active')
    assert systemd.state("cloison.scope") == "active"
    assert (tmp_path / "words").read_text() == "show --property=ActiveState --value cloison.scope\n"


def test_a_systemd_that_does_not_answer_is_not_waited_for(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "PATIENCE_S", 0.01)
    install("systemd-run", "exec cat")
    with (
        pytest.raises(Kernel, match="systemd-run has not answered"),
        systemd.made(SCOPE, str(tmp_path / "keepers")),
    ):
        pass


def test_a_program_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    with pytest.raises(Unsupported, match="'systemctl' is not installed"):
        systemd.state("cloison.scope")
