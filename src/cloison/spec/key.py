"""What a key of the configuration is, and how the values that many keys share are read and written. Pure.

A parser is told the key it reads for, so that its error names key, value and what is possible. What a parser reads,
the formatter of the same key writes back in its one canonical form.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from cloison.base import units
from cloison.base.errors import Invalid
from cloison.base.signals import signal_number

ENDINGS = ("SIGRTMIN+3", "SIGTERM", "SIGPWR")


def one_word(item: str) -> str:
    """What may stand for the * of most keys: one name, without dots and quotes."""
    if set(item) & set(".'\""):
        raise Invalid(f"{item!r} has to be one word, without dots and quotes")
    return item


def any_words(item: str) -> str:
    """What may stand for the * of a key that ends in it."""
    return item


class Key(msgspec.Struct, frozen=True):
    """One key: how its text becomes a value and back, and what it means.

    A * in the name stands for a name that the user chooses, which `item` checks and spells; `samples` are some. `field`
    is where the value is kept, for keys that are not kept under their own name."""

    name: str
    parse: Callable[[str, str], object]
    format: Callable[[Any], str]
    meaning: str
    example: str
    is_live: bool = False  # can be changed while the instance runs
    item: Callable[[str], str] = one_word
    samples: tuple[str, ...] = ("x",)
    field: str = ""


def whole(low: int, high: int, such_as: str) -> Callable[[str, str], int]:
    """The parser of a whole number from `low` to `high`."""

    def parse(key: str, text: str) -> int:
        digits = text.removeprefix("-")
        is_number = digits.isascii() and digits.isdecimal() and len(digits) < 20
        if not is_number or not low <= int(text) <= high:
            refuse(key, text, f"write a whole number from {low} to {high}, such as {such_as}")
        return int(text)

    return parse


def one_of(*words: str) -> Callable[[str, str], str]:
    """The parser of one of a few words."""

    def parse(key: str, text: str) -> str:
        if text not in words:
            refuse(key, text, f"write one of {', '.join(words)}")
        return text

    return parse


def flag(key: str, text: str) -> bool:
    """true or false, and the other words for them."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        refuse(key, text, "write true or false")
    return words[text.lower()]


def flag_text(value: bool) -> str:  # noqa: FBT001
    """What `flag` reads back."""
    return str(value).lower()


def size(key: str, text: str) -> int:
    """Bytes."""
    return units.parse_size(text, key=key)


def duration(key: str, text: str) -> float:
    """Seconds."""
    return units.parse_duration(text, key=key)


def user_id(key: str, text: str) -> int:
    """A user or group id; all bits set is none."""
    if not text.isascii() or not text.isdecimal() or int(text) >= 0xFFFFFFFF:
        refuse(key, text, "write an id, a whole number from 0, such as 1000")
    return int(text)


def signal(key: str, text: str) -> str:
    """The name or number of a signal."""
    if signal_number(text) is None:
        refuse(key, text, f"{text!r} is no signal; write a name or a number, such as {', '.join(ENDINGS)}")
    return text.upper()


def words(key: str, text: str) -> tuple[str, ...]:
    """A command, as in a shell."""
    import shlex  # not at the top: see tests/unit/cli/test_imports.py

    try:
        return tuple(shlex.split(text))
    except ValueError as problem:
        refuse(key, text, f"{problem}; write a command as in a shell, such as '/bin/sleep 60'")


def words_text(value: Sequence[str]) -> str:
    """What `words` reads back."""
    import shlex

    return shlex.join(value)


def guest_path(key: str, text: str) -> str:
    """An absolute path inside."""
    if not text.startswith("/"):
        refuse(key, text, "write an absolute path inside the instance, such as /srv")
    return text


def text_itself(_key: str, text: str) -> str:
    """Whatever it is."""
    return text


def refuse(key: str, text: str, why: str) -> NoReturn:
    """Raise Invalid for a value."""
    raise Invalid(f"{key}={text}: {why}", key=key, value=text)
