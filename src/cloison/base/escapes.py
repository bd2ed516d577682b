"""Terminal control sequences in what guests write: colours pass, everything else is taken out. Pure.

Who writes to a terminal commands it: a sequence can set the title, write to the clipboard, or make the terminal type an
answer into the shell that is read next (CVE-2003-0063 and its relatives). A guest's log is shown on the terminals of
people who have more rights than the guest, so what it says there is text, and no more.

Source: ECMA-48, "Control functions"; xterm's ctlseqs.
"""

import re

_SEQUENCE = re.compile(
    rb"\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI
    rb"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC with their strings
    rb"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # all others
)
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")  # but tab, new line, carriage return
_COLOUR = re.compile(rb"[0-9;:]*")
_MARK = b"\x00"  # stands for the escape of a colour while other controls are taken out
LONGEST = 4096  # a sequence that is longer than this is no sequence


def harmless(text: bytes) -> bytes:
    """`text` with nothing that a terminal would do, but show colours and begin new lines."""
    coloured = _SEQUENCE.sub(_kept, text.replace(_MARK, b""))
    return b"\x1b".join(_CONTROLS.sub(b"", part) for part in coloured.split(_MARK))


def _kept(sequence: re.Match[bytes]) -> bytes:
    is_colour = sequence["final"] == b"m" and _COLOUR.fullmatch(sequence["parameters"])
    return _MARK + sequence[0][1:] if is_colour else b""


class Harmless:
    """The same for text that comes in pieces: a sequence that is not complete waits for its end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, text: bytes) -> bytes:
        """What can be shown now."""
        text = self._rest + text
        end = _complete(text)
        self._rest = text[end:]
        return harmless(text[:end])


def _complete(text: bytes) -> int:
    """Where a sequence, or a character of two bytes, begins that may go on in the next piece."""
    if text.endswith(b"\xc2"):
        return len(text) - 1
    start = text.rfind(b"\x1b")
    if start > 0 and text[start:] == b"\x1b" and (string := _open_string(text[:start])) >= 0:
        start = string  # the escape may be the first half of what ends a string
    if start < 0 or len(text) - start > LONGEST or _SEQUENCE.match(text, start):
        return len(text)
    return start


def _open_string(text: bytes) -> int:
    """Where a string (OSC and the like) begins that has not ended; -1 where there is none."""
    start = text.rfind(b"\x1b")
    is_open = start >= 0 and text[start + 1 : start + 2] in b"]PX^_" and b"\x07" not in text[start:]
    return start if is_open and text[start + 1 : start + 2] else -1
