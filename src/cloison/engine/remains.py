"""What a monitor leaves of a run, in the directory of its instance: two files, each written beside and renamed.

<data>/instances/<id>/exit          how it ended: lines of a word and a number
<data>/instances/<id>/exit.usage    what it had used; its mode says whether that is booked (`engine.accounting`)
"""

import os

from cloison.base.signals import SIGNALS
from cloison.spec.driver import Exit

USAGE = "exit.usage"
BOOKED = 0o400  # the mode of such a record when it has been booked


def read_exit(path: str) -> Exit | None:
    """The exit record that a monitor wrote: lines of a word and a number."""
    try:
        with open(path, encoding="ascii") as file:
            values = {name: int(value) for name, value in (line.split() for line in file)}
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Exit(
        values.get("status", 0), values.get("started_ns", 0), values.get("ended_ns", 0), values.get("undo_failed", 0)
    )


def has_left_usage(directory: str) -> bool:
    """Whether the last run has left a record of what it used that nobody has booked yet. One stat(2)."""
    try:
        return os.stat(f"{directory}/{USAGE}").st_mode & 0o777 != BOOKED
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_reboot(wait_status: int) -> bool:
    """Whether the init asked the kernel for a restart: reboot(2), "Behavior inside PID namespaces"."""
    return os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) == SIGNALS["HUP"]
