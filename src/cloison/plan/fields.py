"""What the fields of steps are made of. Pure.

A field's annotation is its type on the wire:

    Int, Hex, Oct   a signed 64-bit number, and how people read it
    Slot            the number of an open descriptor in the launcher's table; -1 is "none" (or AT_FDCWD)
    Out             the slot that this step fills
    Text            bytes without NUL (a path is text: surrogateescape keeps odd ones)
    Texts           a list of Text
    Blob            any bytes
"""

from enum import IntEnum
from typing import Annotated, ClassVar

import msgspec

Int = Annotated[int, "int"]
Hex = Annotated[int, "hex"]
Oct = Annotated[int, "oct"]
Slot = Annotated[int, "slot"]
Out = Annotated[int, "out"]
Text = Annotated[str, "text"]
Texts = Annotated[tuple[str, ...], "texts"]
Blob = Annotated[bytes, "blob"]

NO_SLOT = -1
MISSING = -1  # for Netlink.ignore: what is to be deleted may be gone
MAX_SLOTS = 64  # the launcher's table; a plan that needs more is refused when it is encoded


class Where(IntEnum):
    """Who carries a step out."""

    HOST = 0  # the launcher: before the clone, or beside the new process after it
    INSIDE = 1  # the new process, before it becomes the payload


class Create(IntEnum):
    """What `move_mount` makes where its target does not exist."""

    NOTHING = 0
    DIRECTORY = 1
    FILE = 2


class Step(msgspec.Struct, frozen=True):
    """One kernel operation with all it needs; no look-up is left for later."""

    kind: ClassVar[str]  # the field's own name for it: the system call, or the file
    number: ClassVar[int]
    source: ClassVar[str]  # the page that documents it
