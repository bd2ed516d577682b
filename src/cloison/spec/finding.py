"""One line of `cloison check`. Pure."""

from typing import Final, Literal

import msgspec

REQUIRED: Final = "required"


class Finding(msgspec.Struct, frozen=True):
    """One ability. `needed` is "required" or says for what; `hint` says what to do where it is not "ok"."""

    topic: str
    name: str
    status: Literal["ok", "missing", "limited"]
    needed: str
    detail: str
    hint: str = ""
