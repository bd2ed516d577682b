"""The scope of an installation: when systemd is asked for it, and what a start does that meets its end."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Kernel
from cloison.kernel import systemd
from cloison.runtime import scope


class World:
    """A host with systemd whose scope has `members` among its keepers."""

    def __init__(self, *members: str) -> None:
        self.members = set(members)
        self.asked: list[str] = []
        self.state = "active"
        self.has_directory = True
        self.refusals = 0

    @contextlib.contextmanager
    def joined(self, _directory: str) -> Iterator[bool]:
        self.asked.append("join")
        yield self.has_directory

    @contextlib.contextmanager
    def made(self, _scope: systemd.Scope, _directory: str) -> Iterator[str | None]:
        self.asked.append("make")
        self.refusals -= 1
        if self.refusals < 0:
            self.has_directory, self.state = True, "active"
        yield "it was already loaded" if self.refusals >= 0 else None

    def state_of(self, _unit: str) -> str:
        self.asked.append("state")
        return self.state

    def start(self) -> int:
        self.members.add("new")
        return 7


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World("1")
    monkeypatch.setattr(scope, "keepers", lambda _run: "/keepers")
    monkeypatch.setattr(scope, "_pids", lambda _directory: frozenset(world.members))
    monkeypatch.setattr(scope, "PAUSE_S", 0.0)
    monkeypatch.setattr(systemd, "joined", world.joined)
    monkeypatch.setattr(systemd, "made", world.made)
    monkeypatch.setattr(systemd, "state", world.state_of)
    return world


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def test_each_installation_has_a_scope_of_its_own() -> None:
    assert scope.unit("/run/cloison") == "cloison.scope"
    assert scope.unit("/srv/a/run") != scope.unit("/srv/b/run")
    assert scope.unit("/srv/a/run").startswith("cloison-")


def test_where_systemd_does_not_run_nothing_is_made(world: World, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "keepers", lambda _run: "")
    assert scope.within(run, world.start) == 7
    with scope.held(run):
        pass
    assert world.asked == []
    assert not Path(run).exists()


def test_beside_another_instance_nobody_is_asked(world: World, run: str) -> None:
    assert scope.within(run, world.start) == 7
    assert world.asked == []


def test_the_first_start_has_the_scope_made(world: World, run: str) -> None:
    world.members.clear()
    world.has_directory = False
    assert scope.within(run, world.start) == 7
    assert world.asked == ["join", "make"]


def test_a_scope_without_members_that_lives_is_kept(world: World, run: str) -> None:
    world.members.clear()
    assert scope.within(run, world.start) == 7
    assert world.asked == ["join", "state"]


def test_a_scope_that_is_ending_is_made_again(world: World, run: str) -> None:
    world.members.clear()
    world.state = "deactivating"
    world.refusals = 2
    assert scope.within(run, world.start) == 7
    assert world.asked == ["join", "state", "make"] * 3


def test_a_scope_that_cannot_be_made_is_an_error_with_systemds_words(
    world: World, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "PATIENCE_S", 0.05)
    world.members.clear()
    world.state, world.refusals = "inactive", 1 << 30
    with pytest.raises(Kernel, match=r"does not make cloison-\w+\.scope, .*: it was already loaded"):
        scope.within(run, world.start)


def test_a_start_whose_companions_have_all_gone_meanwhile_is_made_sure_of(world: World, run: str) -> None:
    def start() -> int:
        world.members = {"new"}
        world.state = "inactive"
        return 7

    assert scope.within(run, start) == 7
    assert world.asked == ["join", "state", "make"]


def test_a_start_that_fails_because_the_scope_went_is_tried_again(world: World, run: str) -> None:
    starts = []

    def start() -> int:
        starts.append(1)
        if len(starts) == 1:
            world.members.clear()
            world.has_directory = False
            raise Kernel("no such group")
        return world.start()

    assert scope.within(run, start) == 7
    assert world.asked == ["join", "make"]


def test_a_start_that_fails_by_itself_is_tried_once(world: World, run: str) -> None:
    def start() -> int:
        world.asked.append("start")
        raise Kernel("no such program")

    with pytest.raises(Kernel, match="no such program"):
        scope.within(run, start)
    assert world.asked == ["start"]
