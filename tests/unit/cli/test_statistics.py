"""`stats`: the table, the rates, and when the ledger hears of it."""

import json
from collections.abc import Callable

import msgspec
import pytest

from cloison.cli import gauges
from cloison.cli.gauges import Rates, rates
from cloison.spec.driver import Usage

from .conftest import SECOND_NS, WEB_STATS, FakeEngine, Said

Cloison = Callable[[str], Said]


def test_stats_is_a_table_of_what_is_up(cloison: Cloison) -> None:
    assert cloison("stats").out.splitlines() == [
        "NAME  STATE    CPU   TIME  MEMORY        SWAP  PROCESSES  READ/WRITTEN  RECEIVED/SENT  OOM",
        "web   running  1.5%  1.5s  64M/256M 25%  -     9          3M/1M         2K/1K          2",
    ]


@pytest.mark.parametrize("line", ["stats -a", "stats db web"])
def test_what_is_stopped_is_shown_when_it_is_asked_for(cloison: Cloison, line: str) -> None:
    assert "db    stopped  -     -     -" in cloison(line).out


def test_a_name_that_is_nobodys_is_an_error(cloison: Cloison) -> None:
    assert cloison("stats nobody").code == 3


def test_stats_as_json_have_every_number(cloison: Cloison) -> None:
    [found] = json.loads(cloison("stats --json").out)
    assert (found["usage"]["oom_kills"], found["limits"]["memory_bytes"], found["cpu_percent"]) == (2, 256 << 20, 1.5)


def test_a_watch_prints_a_table_each_time_where_there_is_no_terminal(cloison: Cloison) -> None:
    said = cloison("stats --watch=1s")
    assert (said.code, said.out.count("NAME  STATE")) == (0, 3)


def test_a_watch_as_json_is_one_line_each_time(cloison: Cloison) -> None:
    lines = cloison("stats --watch=1s --json").out.splitlines()
    assert [json.loads(line)[0]["name"] for line in lines] == ["web"] * 3


def test_a_watch_does_not_fill_the_ledger(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("stats --watch")
    assert [call[-1] for call in engine.calls] == [{"is_booked": True}, {"is_booked": False}, {"is_booked": False}]


def test_a_watch_that_never_rests_is_refused(cloison: Cloison) -> None:
    said = cloison("stats --watch=0s")
    assert (said.code, "0.1 s or more" in said.err) == (2, True)


def test_rates_are_those_between_two_readings() -> None:
    usage = msgspec.structs.replace(WEB_STATS.usage, cpu_ns=2_500_000_000, read_bytes=5 << 20, received_bytes=2048)
    now = msgspec.structs.replace(WEB_STATS, usage=usage, monotonic_ns=WEB_STATS.monotonic_ns + 2 * SECOND_NS)
    assert rates(WEB_STATS, now) == Rates(50.0, 1 << 20, 0.0, 0.0, 0.0)


def test_of_another_run_the_rates_are_not_known_but_its_mean() -> None:
    now = msgspec.structs.replace(WEB_STATS, started="2026-02-01T00:00:00Z", monotonic_ns=200 * SECOND_NS)
    assert rates(WEB_STATS, now) == rates(None, now) == Rates(1.5)


def test_what_is_not_counted_has_no_rate() -> None:
    now = msgspec.structs.replace(WEB_STATS, usage=Usage(cpu_ns=1_500_000_000), monotonic_ns=200 * SECOND_NS)
    assert rates(WEB_STATS, now) == Rates(0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (59.94, "59.9s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86_399, "23h59m"),
        (90_000, "1d01h"),
    ],
)
def test_cpu_time_is_short(seconds: float, text: str) -> None:
    assert gauges.cpu_time(round(seconds * SECOND_NS)) == text
