import json
import os
from collections.abc import Callable

import msgspec
import pytest

from cloison.cli.following import last_lines
from cloison.cli.portrait import portrait
from cloison.engine.results import Change
from cloison.plan.plan import Plan

from .conftest import RUNNING, FakeEngine, Said

Cloison = Callable[[str], Said]


def options_of(engine: FakeEngine) -> dict[str, object]:
    """The named arguments of the only call."""
    [call] = engine.calls
    options = call[-1]
    assert isinstance(options, dict)
    return options


def argv_of(engine: FakeEngine) -> list[object]:
    """The command of the only call."""
    [call] = engine.calls
    argv = call[2]
    assert isinstance(argv, list | tuple)
    return list(argv)


def test_create_puts_the_short_forms_before_what_is_set(cloison: Cloison, engine: FakeEngine) -> None:
    line = "create busybox web --memory 64M --cpus 2 --network host --privileged -c limits.memory=1G -o packages=less"
    said = cloison(line)
    assert (engine.calls[0][:3], said.out) == (("create", "busybox", "web"), "web\n")
    options = options_of(engine)
    assert options["options"] == {"packages": "less"}
    assert options["config"] == (
        "limits.memory=64M",
        "limits.cpus=2",
        "nics.eth0.type=host",
        "security.privileged=true",
        "limits.memory=1G",
    )


def test_every_network_is_of_a_nic_of_its_own(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("create busybox web --network lan --network back")
    assert options_of(engine)["config"] == ("nics.eth0.network=lan", "nics.eth1.network=back")


def test_an_option_of_a_template_has_a_value(cloison: Cloison) -> None:
    said = cloison("create busybox web -o packages")
    assert said.code == 2
    assert "--option packages: write NAME=VALUE" in said.err


def test_launch_says_the_name_that_it_gave(cloison: Cloison, engine: FakeEngine) -> None:
    assert cloison("launch busybox").out == "web\n"
    assert engine.calls[0][:3] == ("launch", "busybox", "")


@pytest.mark.parametrize("line", ["-v launch busybox", "launch busybox -v"])
def test_verbose_may_stand_before_or_behind_the_command(cloison: Cloison, engine: FakeEngine, line: str) -> None:
    cloison(line)
    options = options_of(engine)
    assert options["watch"] is not None


def test_a_quiet_build_shows_no_progress(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("-q launch busybox")
    options = options_of(engine)
    assert options["progress"] is None


def test_durations_are_written_with_units(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("stop -t 1m30s web")
    assert engine.calls == [("stop", "web", {"timeout_s": 90.0, "force": False})]


@pytest.mark.parametrize(("option", "scope"), [("", "both"), ("--live", "live"), ("--next-start", "next-start")])
def test_set_is_told_what_to_change(cloison: Cloison, engine: FakeEngine, option: str, scope: str) -> None:
    assert cloison(f"set {option} web limits.memory=1G").code == 0
    assert engine.calls == [("set", "web", "limits.memory=1G", {"scope": scope})]


def test_set_takes_one_scope_at_once(cloison: Cloison, engine: FakeEngine) -> None:
    said = cloison("set --live --next-start web limits.memory=1G")
    assert said.code == 2
    assert "--live and --next-start exclude each other" in said.err
    assert engine.calls == []


def test_set_says_what_waits_for_the_next_start(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["set"] = Change(("limits.memory",), ("boot.own_clock",))
    assert cloison("set web limits.memory=1G boot.own_clock=true").out == "at the next start of web: boot.own_clock\n"


def test_get_shows_the_value_alone(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["get"] = "256M"
    assert cloison("get web limits.memory").out == "256M\n"


@pytest.mark.parametrize(
    "line",
    [
        "exec web -- id -u",
        "exec web id -u",
        "exec -T -u ana -w /srv -e A=1 web -- id -u",
        "exec web -T -u ana -w /srv -e A=1 -- id -u",
    ],
)
def test_exec_hands_the_command_on_untouched(cloison: Cloison, engine: FakeEngine, line: str) -> None:
    cloison(line)
    assert argv_of(engine) == ["id", "-u"]
    if "ana" in line:
        options = options_of(engine)
        assert (options["user"], options["cwd"], options["env"], options["tty"]) == ("ana", "/srv", {"A": "1"}, False)


def test_a_later_double_dash_belongs_to_the_command(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("exec web sh -c true -- x")
    assert argv_of(engine) == ["sh", "-c", "true", "--", "x"]


def test_exec_takes_no_terminal_where_we_have_none(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("exec web id")
    options = options_of(engine)
    assert options["tty"] is (os.isatty(0) and os.isatty(1))


def test_a_variable_without_a_value_has_ours(
    cloison: Cloison, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    cloison("exec -e LANG web id")
    options = options_of(engine)
    assert options["env"] == {"LANG": "fr_FR.UTF-8"}


@pytest.mark.parametrize(
    "words",
    [
        *("start web db", "stop web", "delete web db", "exec web id", "exec web -- ls -l", "ls", "create busybox new"),
        *("create busybox new --storage fast", "copy web new", "snapshot create web", "snapshot create web before"),
    ],
)
def test_the_short_way_and_the_long_way_do_the_same(cloison: Cloison, engine: FakeEngine, words: str) -> None:
    quick = cloison(words)
    quick_calls, engine.calls = engine.calls, []
    long = cloison(f"--root= {words}")  # any option before the command leaves the short way
    assert (long.code, long.out, long.err) == (quick.code, quick.out, quick.err)
    assert [_plain(call) for call in engine.calls] == [_plain(call) for call in quick_calls]


def _plain(call: tuple[object, ...]) -> list[object]:
    """What was asked for; whom progress is told to is not compared."""
    return [_compared(word) for word in call]


def _compared(word: object) -> object:
    if isinstance(word, dict):
        return {key: value is not None if key == "progress" else value for key, value in word.items()}
    return list(word) if isinstance(word, tuple) else word


def test_ls_is_an_aligned_table(cloison: Cloison) -> None:
    assert cloison("ls").out.splitlines() == [
        "NAME  STATE    KIND                   IMAGE      ADDRESSES  MEMORY  PROCESSES",
        "db    stopped  container, privileged  debian/12  -          -       -",
        "web   running  container              debian/12  10.0.0.2   12M     9",
    ]


def test_ls_can_leave_out_what_is_stopped(cloison: Cloison) -> None:
    assert cloison("ls --running -q").out == "web\n"


def test_ls_as_json_is_a_list_of_infos(cloison: Cloison) -> None:
    assert [info["name"] for info in json.loads(cloison("ls --json").out)] == ["db", "web"]


def test_info_shows_what_is_used_of_what_there_is(cloison: Cloison) -> None:
    shown = cloison("info web").out
    assert "  memory     12M of 256M, at most 20M so far\n" in shown
    assert "  own files  4K besides the image's\n" in shown


def test_info_shows_what_is_in_force_besides_what_is_stored() -> None:
    live = {"limits.memory": "1G", "limits.cpus": "2"}
    info = msgspec.structs.replace(RUNNING, config={"limits.memory": "256M", "env.A": "1"}, live_config=live)
    assert portrait(info).endswith(
        "In force until it stops\n  limits.memory  1G\n  limits.cpus    2\n  env.A          not set\n"
    )
    assert "In force" not in portrait(RUNNING)


def test_info_says_how_it_ended(cloison: Cloison) -> None:
    assert "  last ended  2026-01-02T05:00:00Z: killed, code 137\n" in cloison("info db").out


def test_info_of_several_as_json_leaves_out_who_is_missing(cloison: Cloison) -> None:
    said = cloison("info --json web nobody")
    assert said.code == 3
    assert [info["disk_bytes"] for info in json.loads(said.out)] == [4096]


def test_wait_prints_the_exit_code(cloison: Cloison) -> None:
    assert cloison("wait db").out == "137\n"


def test_wait_gives_up_after_its_time(cloison: Cloison, engine: FakeEngine) -> None:
    engine.answers["wait"] = False
    said = cloison("wait -t 5 web")
    assert said.code == 7
    assert said.err == "cloison: 'web' did not end within 5 s      [timed-out]\n"


@pytest.mark.parametrize(
    ("text", "count", "last"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\n", 5, b"a\n"),
        (b"a\n", 0, b""),
        (b"", 1, b""),
    ],
)
def test_logs_can_show_the_last_lines_alone(text: bytes, count: int, last: bytes) -> None:
    assert last_lines(text, count) == last


def test_the_console_says_first_how_it_is_left(cloison: Cloison) -> None:
    assert cloison("console web").err == "Connected to the console of web; Ctrl-a q leaves\n"


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("explain web", ("explain", "web", {})),
        ("explain exec", None),
        ("explain exec web -- ps -e", ("explain_exec", "web", ("ps", "-e"), {})),
        ("explain exec web ps", ("explain_exec", "web", ("ps",), {})),
        ("explain web db", None),
        ("explain exec web", None),
    ],
)
def test_explain_tells_a_start_from_an_exec(
    cloison: Cloison, engine: FakeEngine, line: str, call: tuple[object, ...] | None
) -> None:
    engine.answers |= {"explain": Plan("start web", ()), "explain_exec": Plan("exec in web", ())}
    said = cloison(line)
    assert engine.calls == ([call] if call else [])
    assert bool(said.code) is (call is None)
    assert ("bring the network cloison0 up" in said.out) is (line == "explain web")
