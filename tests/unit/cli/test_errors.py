from collections.abc import Callable

import pytest

from cloison.base.errors import Bug, Busy, CloisonError, Denied, Host, Invalid, NotFound, Remote, Usage, WrongState
from cloison.cli.complaints import sentence

from .conftest import FakeEngine, Said

Cloison = Callable[[str], Said]


class CannotExecute(Invalid):
    code = "cannot-execute"


class ProgramNotFound(NotFound):
    code = "program-not-found"


def test_an_error_is_a_sentence_with_a_hint_and_its_code() -> None:
    problem = Busy("'web' is being changed", hint="try again")
    assert sentence(problem) == "cloison: 'web' is being changed\n  hint: try again      [busy]"


def test_without_a_hint_the_code_ends_the_sentence() -> None:
    assert sentence(Busy("'web' is being changed")) == "cloison: 'web' is being changed      [busy]"


@pytest.mark.parametrize(
    ("error", "code"),
    [(Usage, 2), (Invalid, 2), (NotFound, 3), (WrongState, 4), (Denied, 5), (Host, 6), (Remote, 7), (Bug, 70)],
)
def test_the_exit_code_is_that_of_the_error(
    cloison: Cloison, engine: FakeEngine, error: type[CloisonError], code: int
) -> None:
    engine.fails["start"] = error("no")
    assert cloison("start web").code == code


def test_wrong_words_are_one_sentence_in_the_same_shape(cloison: Cloison) -> None:
    said = cloison("start --foo web")
    assert (said.code, said.err.splitlines()) == (
        2,
        [
            "cloison: start: no such option '--foo'",
            "  hint: `cloison start --help` shows how it is written      [usage]",
        ],
    )


def test_an_unknown_command_names_the_nearest_one(cloison: Cloison) -> None:
    said = cloison("strt web")
    assert said.code == 2
    assert said.err.startswith("cloison: there is no command 'strt'; 'start' is one\n")


def test_the_same_holds_below_image(cloison: Cloison) -> None:
    said = cloison("image lss")
    assert said.code == 2
    assert said.err.startswith("cloison: image: ")


def test_a_command_without_its_words_shows_how_it_is_written(cloison: Cloison) -> None:
    said = cloison("image")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: cloison image")


def test_an_error_that_nobody_foresaw_is_a_bug_with_its_traceback(cloison: Cloison, engine: FakeEngine) -> None:
    engine.fails["start"] = ZeroDivisionError("oops")
    said = cloison("start web")
    assert said.code == 70
    assert "Traceback" in said.err
    assert said.err.splitlines()[-2] == "cloison: ZeroDivisionError: oops"
    assert said.err.endswith("[bug]\n")


def test_an_interrupted_command_is_silent(cloison: Cloison, engine: FakeEngine) -> None:
    engine.fails["start"] = KeyboardInterrupt()
    said = cloison("start web")
    assert (said.code, said.err) == (130, "")


def test_an_interrupted_long_way_is_silent(cloison: Cloison, engine: FakeEngine) -> None:
    engine.fails["kill"] = KeyboardInterrupt()
    said = cloison("kill web")
    assert (said.code, said.err) == (130, "")


def test_who_stops_reading_is_told_nothing(cloison: Cloison, engine: FakeEngine) -> None:
    engine.fails["console"] = BrokenPipeError()
    said = cloison("-q console web")
    assert (said.code, said.err) == (141, "")


def test_each_name_is_tried_and_the_first_failure_counts(cloison: Cloison, engine: FakeEngine) -> None:
    said = cloison("kill nobody web none")
    assert said.code == 3
    assert said.err.count("[not-found]") == 2
    assert [call[:2] for call in engine.calls] == [("kill", "web")]


def test_several_that_are_stopped_are_all_heard(cloison: Cloison, engine: FakeEngine) -> None:
    said = cloison("stop web nobody db")
    assert said.code == 3
    assert sorted(str(call[1]) for call in engine.calls) == ["db", "web"]


@pytest.mark.parametrize("line", ["exec web nosuch", "exec -T web nosuch"])
@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (WrongState("it is stopped"), 125),
        (CannotExecute("no"), 126),
        (ProgramNotFound("no"), 127),
        (RuntimeError("oops"), 125),
    ],
)
def test_exec_keeps_its_own_failures_apart_from_the_payloads(
    cloison: Cloison, engine: FakeEngine, line: str, problem: Exception, code: int
) -> None:
    engine.fails["exec_here"] = problem
    assert cloison(line).code == code


def test_wrong_words_of_exec_are_a_failure_of_cloison(cloison: Cloison) -> None:
    assert cloison("exec --foo web id").code == 125


def test_exec_gives_the_payloads_code(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["exec_here"] = 7
    assert cloison("exec web false").code == 7


def test_shell_fails_as_exec_does(cloison: Cloison, engine: FakeEngine) -> None:
    engine.fails["shell"] = WrongState("it is stopped")
    assert cloison("shell web").code == 125
