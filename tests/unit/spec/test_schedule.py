"""When a schedule was to happen last."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Invalid
from cloison.spec import schedule
from cloison.spec.config import Config, assign_all

NOW = datetime(2026, 11, 21, 14, 33, 12)  # a Saturday


@pytest.mark.parametrize(
    ("text", "latest"),
    [
        ("@hourly", datetime(2026, 11, 21, 14, 0)),
        ("@daily", datetime(2026, 11, 21)),
        ("@midnight", datetime(2026, 11, 21)),
        ("@weekly", datetime(2026, 11, 15)),
        ("@monthly", datetime(2026, 11, 1)),
        ("@yearly", datetime(2026, 1, 1)),
        ("* * * * *", datetime(2026, 11, 21, 14, 33)),
        ("0 3 * * *", datetime(2026, 11, 21, 3, 0)),
        ("34 14 * * *", datetime(2026, 11, 20, 14, 34)),
        ("*/15 * * * *", datetime(2026, 11, 21, 14, 30)),
        ("5-59/20 * * * *", datetime(2026, 11, 21, 14, 25)),
        ("0 8-18 * * 1-5", datetime(2026, 11, 20, 18, 0)),
        ("0 0 * * 7", datetime(2026, 11, 15)),
        ("0 0 13 * 5", datetime(2026, 11, 20)),  # either is enough, as with cron
        ("0 0 29 2 *", datetime(2024, 2, 29)),
        ("0 0 31 1,3 *", datetime(2026, 3, 31)),
    ],
)
def test_the_last_time_is_found(text: str, latest: datetime) -> None:
    assert schedule.parse(text).latest(NOW) == latest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "@never",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1,, * * * *",
        "0 0 31 2 *",
        "-1 * * * *",
        "* * * * mon",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        schedule.parse(text)
    if text:
        with pytest.raises(Invalid, match=r"snapshots\.schedule="):
            assign_all(Config(), [f"snapshots.schedule={text}"])


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["@hourly", "7 3 * * *", "*/7 * 1 * 3"]),
)
def test_nothing_is_due_between_the_last_time_and_now(now: datetime, text: str) -> None:
    found = schedule.parse(text)
    latest = found.latest(now)
    assert latest is not None
    assert latest <= now
    assert found.latest(latest) == latest
    before = found.latest(latest - timedelta(minutes=1))
    assert before is not None
    assert before < latest


def test_a_name_has_to_be_one_of_a_snapshot() -> None:
    for pattern in ("a/b", "%z", "-%Y", "a b", "%", "x" * 64, "%Y%"):
        with pytest.raises(Invalid, match=r"snapshots\.pattern"):
            assign_all(Config(), [f"snapshots.pattern={pattern}"])
    assert assign_all(Config(), ["snapshots.pattern=n-%Y"]).snapshots.pattern == "n-%Y"
    with pytest.raises(Invalid, match="gone at once"):
        assign_all(Config(), ["snapshots.expiry=0s"])
