"""Signals by name. Pure.

Source: signal(7).
"""

import re
from typing import Final

# Real-time signals count from glibc's SIGRTMIN, which is 34: it keeps two for itself.
SIGNALS: Final = {
    name: number
    for number, name in enumerate(
        "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU"
        " URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(),
        start=1,
    )
}
SIGRTMIN: Final = 34
SIGRTMAX: Final = 64


def signal_number(text: str) -> int | None:
    """The number of a signal written as 9, KILL, SIGKILL or SIGRTMIN+3; None where there is no such signal."""
    word = text.upper().removeprefix("SIG")
    if word.isdecimal():
        return int(word) if 1 <= int(word) <= SIGRTMAX else None
    if match := re.fullmatch(r"RT(MIN\+|MAX-)(\d{1,2})|RT(MIN|MAX)", word):
        from_end = "MAX" in word
        offset = int(match[2] or 0)
        number = SIGRTMAX - offset if from_end else SIGRTMIN + offset
        return number if SIGRTMIN <= number <= SIGRTMAX else None
    return SIGNALS.get(word)
