"""The keys of the group `snapshots`: when one is made by itself, what it is called, how long it stays. Pure."""

import re
from typing import TYPE_CHECKING

import msgspec

from cloison.base import units
from cloison.spec import key as keys
from cloison.spec.key import Key, refuse

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_PATTERN = "auto-%Y%m%d-%H%M"
_CODE = re.compile(r"%[YmdHMS]")
_REST = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)
_LONGEST = 63


class Snapshots(msgspec.Struct, frozen=True, omit_defaults=True):
    """When `cloison snapshot run-due` makes one ("" for never), what it is called, and after how many seconds any is
    deleted that is not told otherwise. `stopped`: also while it does not run."""

    schedule: str = ""
    expiry_s: float | None = None
    pattern: str = DEFAULT_PATTERN
    stopped: bool = False


def name_at(pattern: str, moment: "datetime") -> str:
    """The name of a snapshot that is made by itself."""
    return moment.strftime(pattern)


def _schedule(key: str, text: str) -> str:
    from cloison.base.errors import Invalid
    from cloison.spec import schedule  # not at the top: a start needs none

    try:
        schedule.parse(text)
    except Invalid as problem:
        raise Invalid(f"{key}={text}: {problem}", key=key, value=text) from None
    return text


def _expiry(key: str, text: str) -> float:
    found = keys.duration(key, text)
    if found <= 0:
        refuse(key, text, "it would be gone at once; write a duration such as 7d")
    return found


def _pattern(key: str, text: str) -> str:
    from datetime import datetime

    example = name_at(text, datetime(2026, 12, 31, 23, 59)) if _REST.fullmatch(_CODE.sub("", text)) else ""
    if not example or not example[0].isalnum() or len(example) > _LONGEST:
        refuse(
            key,
            text,
            f"write at most {_LONGEST} letters, digits, dots, hyphens and underscores, a letter or a digit first, and"
            " %Y %m %d %H %M %S as in strftime(3)",
        )
    return text


_KEYS = (
    Key("snapshots.schedule", _schedule, str, "when one is made: @hourly, @daily, or as in crontab(5)", "@daily"),
    Key(
        "snapshots.expiry",
        _expiry,
        units.format_duration,
        "how long they stay, unless told otherwise",
        "7d",
        field="snapshots.expiry_s",
    ),
    Key("snapshots.pattern", _pattern, str, "what those are called, with the codes of strftime(3)", "auto-%Y%m%d-%H%M"),
    Key("snapshots.stopped", keys.flag, keys.flag_text, "the schedule also goes on while it is stopped", "true"),
)
SNAPSHOT_KEYS: tuple[Key, ...] = tuple(msgspec.structs.replace(found, is_live=True) for found in _KEYS)
