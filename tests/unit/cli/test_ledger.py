"""`ledger`: times, and the three forms of a report."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.cli import moments
from cloison.engine.billing import LedgerLine, LedgerReport

from .conftest import FakeEngine, Said

Cloison = Callable[[str], Said]
NOW_NS = 1_782_043_200_000_000_000  # 2026-06-21T12:00:00Z
HOUR_NS = 3_600_000_000_000
WEB = LedgerLine(
    "0123456789ab", "web", "shop", Decimal("5400.5"), 3 << 30, 1 << 30, 2048, 1024, 1 << 20, 0, Decimal("0.30")
)
TOTAL = LedgerLine("", "", "", Decimal("5400.5"), 3 << 30, 1 << 30, 2048, 1024, 1 << 20, 0, Decimal("0.30"))
REPORT = LedgerReport("2026-06-01T00:00:00Z", "2026-06-21T12:00:00Z", "instance", "EUR", (WEB,), TOTAL)


@pytest.fixture(autouse=True)
def reported(engine: FakeEngine) -> None:
    engine.answers["ledger"] = REPORT


def moment(text: str) -> int:
    return moments.parse(text, key="--from", now_ns=NOW_NS)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("now", NOW_NS),
        ("2026-06-21", NOW_NS - 12 * HOUR_NS),
        ("2026-06-21T12:00:00Z", NOW_NS),
        ("2026-06-21T14:00+02:00", NOW_NS),
        ("2026-06-21t12:00:00.5z", NOW_NS),
        ("-7d", NOW_NS - 7 * 24 * HOUR_NS),
        ("-1h30m", NOW_NS - 3 * HOUR_NS // 2),
        ("1960-01-01", 0),
        ("-99999d", 0),
    ],
)
def test_a_time_may_be_a_day_a_time_or_so_long_ago(text: str, ns: int) -> None:
    assert moment(text) == ns


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-02-30", "20260621", "2026-06-21T12:00:00", "7d", "-7y", "2026-W25"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=f"--from={text}: "):
        moment(text)


def test_a_month_begins_at_midnight_in_utc() -> None:
    assert moments.first_of_month(NOW_NS) == moment("2026-06-01")


def test_a_report_begins_with_the_month_and_ends_now(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("ledger report")
    [(_, begin_ns, end_ns, options)] = engine.calls
    assert isinstance(begin_ns, int) and isinstance(end_ns, int)
    assert begin_ns == moments.first_of_month(end_ns)
    assert options == {"by": "instance", "tariff": None}


def test_a_minus_begins_no_option_there(cloison: Cloison, engine: FakeEngine) -> None:
    cloison("ledger report --from -7d --to -1d --by project")
    [(_, begin_ns, end_ns, options)] = engine.calls
    assert isinstance(begin_ns, int) and isinstance(end_ns, int)
    assert end_ns - begin_ns == 6 * 24 * HOUR_NS
    assert options == {"by": "project", "tariff": None}


def test_a_report_is_a_table_with_a_sum(cloison: Cloison) -> None:
    assert cloison("ledger report").out.splitlines() == [
        "INSTANCE  ID            PROJECT  CPU    MEMORY  DISK  READ/WRITTEN  RECEIVED/SENT  AMOUNT (EUR)",
        "web       0123456789ab  shop     1h30m  3Gh     1Gh   2K/1K         1M/0           0.30",
        "total                            1h30m  3Gh     1Gh   2K/1K         1M/0           0.30",
        "",
        "from 2026-06-01T00:00:00Z to 2026-06-21T12:00:00Z; memory and disk in bytes held for one hour",
    ]


def test_as_csv_it_has_whole_units_and_no_sum(cloison: Cloison) -> None:
    [row] = csv.DictReader(io.StringIO(cloison("ledger report --csv").out))
    assert row == {
        "from": "2026-06-01T00:00:00Z",
        "to": "2026-06-21T12:00:00Z",
        "id": "0123456789ab",
        "name": "web",
        "project": "shop",
        "cpu_seconds": "5400.5",
        "memory_byte_hours": str(3 << 30),
        "disk_byte_hours": str(1 << 30),
        "io_read_bytes": "2048",
        "io_written_bytes": "1024",
        "network_received_bytes": str(1 << 20),
        "network_sent_bytes": "0",
        "amount": "0.30",
        "currency": "EUR",
    }


def test_as_json_its_numbers_keep_every_digit(cloison: Cloison) -> None:
    found = json.loads(cloison("ledger report --json").out, parse_float=str)
    assert (found["lines"][0]["cpu_seconds"], found["total"]["amount"], found["currency"]) == ("5400.5", "0.30", "EUR")


def test_it_is_one_form_or_the_other(cloison: Cloison) -> None:
    assert cloison("ledger report --csv --json").code == 2


def test_a_tariff_is_read_from_its_file(cloison: Cloison, engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "tariff.toml"
    path.write_text('currency = "EUR"\n[prices]\ncpu_hour = 0.02\n')
    cloison(f"ledger report --tariff {path}")
    [(*_, options)] = engine.calls
    assert isinstance(options, dict) and options["tariff"].prices == {"cpu_hour": Decimal("0.02")}


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), (b"\xff", "no text in UTF-8"), (b"x=", "is no TOML")]
)
def test_a_tariff_that_is_none_is_named(cloison: Cloison, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "tariff.toml"
    if content is not None:
        path.write_bytes(content)
    answer = cloison(f"ledger report --tariff {path}")
    assert answer.code == 2
    assert str(path) in answer.err and said in answer.err


def test_a_sample_says_how_many_there_were(cloison: Cloison) -> None:
    said = cloison("ledger sample")
    assert (said.code, said.out, said.err) == (0, "", "2 instances\n")
